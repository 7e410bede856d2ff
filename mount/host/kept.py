"""What the supervisor keeps for its workers: memory that survives them, and their socket."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from datastores.contract import LeaseSpec
from mount.host.order import MountOrder, lease_from_json, lease_to_json


@dataclass(slots=True)
class Kept:
    """Made once per host, inherited by each worker.

    `lease_fd` is a memory file with the newest lease: it is never on a disk. `chronicle_fd` and
    `lookups_fd` are the file system's notes, `counters_fd` is what it counted, `versions_fd` the
    folder where it notes the versions that are opened, if somebody asked for that.
    """

    listener: socket.socket
    ready_fd: int
    left: list[str]
    lease_fd: int = field(default_factory=lambda: os.memfd_create("lease"))
    chronicle_fd: int = field(default_factory=lambda: os.memfd_create("chronicle"))
    lookups_fd: int = field(default_factory=lambda: os.memfd_create("lookups"))
    counters_fd: int = field(default_factory=lambda: os.memfd_create("counters"))
    versions_fd: int = field(default_factory=lambda: os.memfd_create("versions"))
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

    def versions(self) -> Path | None:
        """Where the versions that are opened are noted; None where they are not."""
        text = os.pread(self.versions_fd, os.fstat(self.versions_fd).st_size, 0)
        # Whoever died in the middle of the writing has told nobody that they are noted.
        return Path(os.fsdecode(text[:-1])) if text.endswith(b"\0") else None

    def keep_versions(self, folder: Path) -> None:
        """For the workers after this one."""
        text = os.fsencode(folder) + b"\0"
        os.ftruncate(self.versions_fd, 0)
        os.pwrite(self.versions_fd, text, 0)

    def lose_versions(self) -> None:
        """They are not noted any more, and whoever goes on has missed some."""
        os.ftruncate(self.versions_fd, 0)
        os.pwrite(self.versions_fd, b"\1", 0)

    @property
    def has_lost_versions(self) -> bool:
        return os.pread(self.versions_fd, 1, 0) == b"\1"

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
        memory = (self.lease_fd, self.chronicle_fd, self.lookups_fd, self.counters_fd)
        for fd in (*memory, self.versions_fd):
            os.close(fd)
