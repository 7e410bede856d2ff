"""Whether what is coming fits on the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable

from datastores.errors import DiskFull

_GIB = 1 << 30
# Asking the disk costs two microseconds; small files may wait for the next question.
_ASK_EVERY_BYTES = 64 << 20


class Space:
    """Bytes that are planned and not yet on the disk, against what is free; any thread."""

    def __init__(self, place: str, free: Callable[[], int]) -> None:
        self._place = place
        self._free = free
        self._lock = threading.Lock()
        # Under the lock.
        self._outstanding = 0
        self._unasked = _ASK_EVERY_BYTES

    def plan(self, size: int) -> None:
        """So many more bytes are coming; `DiskFull` before the first of them if they cannot fit."""
        with self._lock:
            self._outstanding += size
            self._unasked += size
            if self._unasked < _ASK_EVERY_BYTES:
                return
            self._unasked = 0
            needed = self._outstanding
        free = self._free()
        if needed > free:
            detail = (
                f"it needs {needed / _GIB:.2f} GiB more and {free / _GIB:.2f} GiB are free; "
                "free some space and run it again, what has arrived is kept"
            )
            raise DiskFull(self._place, None, detail)

    def settle(self, size: int) -> None:
        """So many planned bytes have their blocks by now, or are not coming."""
        with self._lock:
            self._outstanding -= size
