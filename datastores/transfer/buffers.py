"""Memory for blocks on their way, used again: fresh pages cost more than the reads into them."""

from __future__ import annotations

import threading


class Buffers:
    """Buffers that come back; no more of them than were in use at one time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Under the lock; all of one size.
        self._free: list[bytearray] = []

    def lend(self, size: int) -> bytearray:
        """A buffer of this size with anything in it."""
        with self._lock:
            if self._free and len(self._free[0]) != size:
                self._free.clear()
            return self._free.pop() if self._free else bytearray(size)

    def take_back(self, buffer: bytearray) -> None:
        """A buffer that nobody looks at any more."""
        with self._lock:
            if not self._free or len(self._free[0]) == len(buffer):
                self._free.append(buffer)
