"""A connection with the kernel, which is never taken for another one.

The kernel gives the lowest free number. The next mount of this host, whosever it is, gets that of a
connection that has just ended, and may be mounted at the same place.
"""

from __future__ import annotations

import ctypes
import os
from typing import Self

from mount.fuse import device, mounts


class Connection:
    """One of them; its switch is that of this one for ever, whoever gets the number next."""

    def __init__(self, number: int, switch: int | None) -> None:
        self.number = number
        # What cuts it when something is written to it; None where the host lets us cut none.
        self.switch = switch

    @classmethod
    def of(cls, place: str) -> Self | None:
        """That of the topmost mount at a place; None where nothing of FUSE is mounted."""
        line = mounts.find_mount(place)
        if line is None or not line.kind.startswith("fuse"):
            return None
        return cls(line.connection, _open_switch(line.connection))

    @property
    def made(self) -> int | None:
        """When the kernel made it, which tells it from others of its number in what is written down."""
        try:
            return (mounts.CONNECTIONS / str(self.number)).stat().st_ctime_ns
        except OSError:
            return None  # there is no fusectl here

    def is_at(self, place: str) -> bool:
        """Whether it is what is mounted there now; an aborted one is, until it is unmounted."""
        line = mounts.find_mount(place)
        # In this order: while it has not ended nobody else has its number.
        return line is not None and line.connection == self.number and not self._has_ended()

    def unmount(self, place: str) -> None:
        """Take it from a place, lazily, if it is there and no other one."""
        if self.is_at(place):
            device.unmount(place, lazy=True)

    def abort(self) -> bool:
        """Make the kernel give it up: every caller in it gets an error; False if we may not."""
        if self.switch is None:
            return False
        os.write(self.switch, b"1")
        return True

    def close(self) -> None:
        """Nothing more can be done with it from here."""
        switch, self.switch = self.switch, None
        if switch is not None:
            os.close(switch)

    def _has_ended(self) -> bool:
        return self.switch is not None and os.fstat(self.switch).st_nlink == 0


def _open_switch(number: int) -> int | None:
    if not mounts.has_fusectl():
        # Containers often come without it; refused, the open below says so.
        ctypes.CDLL(None).mount(
            b"fusectl", bytes(mounts.CONNECTIONS), b"fusectl", ctypes.c_ulong(0), None
        )
    try:
        # Opened without O_CREAT: the folder is no place for new files.
        return os.open(mounts.CONNECTIONS / str(number) / "abort", os.O_WRONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
