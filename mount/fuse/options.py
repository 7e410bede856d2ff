"""How a mount is made."""

from __future__ import annotations

from datastores.value import Value

# Part of the type that /proc/self/mountinfo shows; by it our own dead mounts are recognised.
SUBTYPE = "datastores"


class MountOptions(Value):
    """What the person who mounts may choose; the defaults suit one job on one node."""

    source: str = "datastores"
    read_only: bool = False
    allow_other: bool = False
    # Permission bits that nobody gets, whatever the file system says.
    umask: int = 0
    passthrough: bool = True
    # Requests that wait for the network at the same time.
    threads: int = 32
    # The most that the kernel takes. From memory 2.2 GB/s on two cores; with 128 KiB 1.4 GB/s.
    request_bytes: int = 1 << 20
    readahead_bytes: int = 1 << 20
