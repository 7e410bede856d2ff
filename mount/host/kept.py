"""What the supervisor keeps for its workers: memory that survives them, and their socket."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

from datastores.contract import LeaseSpec
from mount.host.order import MountOrder, lease_from_json, lease_to_json


@dataclass(slots=True)
class Kept:
    """Made once per host, inherited by each worker.

    `lease_fd` is a memory file with the newest lease: it is never on a disk. `chronicle_fd` and
    `lookups_fd` are the file system's notes, `counters_fd` is what it counted.
    """

    listener: socket.socket
    ready_fd: int
    left: list[str]
    lease_fd: int = field(default_factory=lambda: os.memfd_create("lease"))
    chronicle_fd: int = field(default_factory=lambda: os.memfd_create("chronicle"))
    lookups_fd: int = field(default_factory=lambda: os.memfd_create("lookups"))
    counters_fd: int = field(default_factory=lambda: os.memfd_create("counters"))
    since: float = field(default_factory=time.time)
    supervisor: int = field(default_factory=os.getpid)

    def lease(self, order: MountOrder) -> LeaseSpec | None:
        """The newest lease: the last renewal, or what the order came with."""
        text = os.pread(self.lease_fd, os.fstat(self.lease_fd).st_size, 0)
        return lease_from_json(text) if text else order.lease

    def keep_lease(self, lease: LeaseSpec) -> None:
        """For the workers after this one."""
        text = lease_to_json(lease).encode()
        # Whoever dies between the two leaves a text with a tail of blanks, which JSON allows.
        size = os.fstat(self.lease_fd).st_size
        os.pwrite(self.lease_fd, text.ljust(size), 0)
        os.ftruncate(self.lease_fd, len(text))

    def tell(self, text: str) -> None:
        """Say once how the start went; later words are for nobody."""
        fd, self.ready_fd = self.ready_fd, -1
        if fd < 0:
            return
        with suppress(BrokenPipeError):  # nobody waits any more
            os.write(fd, f"{text}\n".encode())
        os.close(fd)

    def close(self) -> None:
        self.listener.close()
        for fd in (self.lease_fd, self.chronicle_fd, self.lookups_fd, self.counters_fd):
            os.close(fd)
