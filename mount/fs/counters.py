"""What a mount has done so far, as numbers."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from datastores.value import Value


class Counts(Value):
    """Totals since the start, except the gauges at the end."""

    opens: int = 0
    backed_opens: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    without_cache: int = 0
    requests: int = 0
    bytes_read: int = 0
    bytes_fetched: int = 0
    bytes_ahead: int = 0
    bytes_ahead_unused: int = 0
    bytes_written: int = 0
    bytes_sent: int = 0
    blocks_reused: int = 0
    failed_uploads: int = 0
    failed_ahead: int = 0
    # Bodies that were cut short or had other bytes than the store says.
    flawed_bodies: int = 0
    # Cached files that could not be read to their end.
    broken_cached: int = 0
    stale_reads: int = 0
    hidden_names: int = 0
    blocked_seconds: float = 0.0
    # Requests that were answered with EIO because of an error of this program.
    defects: int = 0
    # Gauges.
    open_files: int = 0
    open_folders: int = 0
    inodes: int = 0
    lookups: int = 0
    drafts: int = 0
    dirty_bytes: int = 0
    memory_bytes: int = 0


# `kept_hits` are part of `cache_hits`.
_PLACES = {
    name: place
    for place, name in enumerate([*(field.name for field in fields(Counts)), "kept_hits"])
}
# What this process holds, which goes with it.
_GAUGES = (
    "open_files",
    "open_folders",
    "inodes",
    "lookups",
    "drafts",
    "dirty_bytes",
    "memory_bytes",
)


class Counters:
    """Numbers that any thread may raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Under the lock; whole numbers are exact up to 2^53.
        self._totals: memoryview[float] = memoryview(bytearray(8 * len(_PLACES))).cast("d")
        # What earlier processes left.
        self._before = [0.0] * len(_PLACES)

    def keep_in(self, fd: int) -> None:
        """Count in a memory file, which is true at any moment, from what an earlier process left."""
        if os.fstat(fd).st_size == 0:
            os.ftruncate(fd, mmap.PAGESIZE)
        kept = memoryview(mmap.mmap(fd, mmap.PAGESIZE)).cast("d")
        with self._lock:
            for name, place in _PLACES.items():
                self._before[place] = 0.0 if name in _GAUGES else kept[place]
                kept[place] = self._before[place] + self._totals[place]
            self._totals = kept

    def add(self, name: str, amount: float = 1) -> None:
        place = _PLACES[name]
        with self._lock:
            self._totals[place] += amount

    def note(self, name: str, total: int) -> None:
        """What this process counts elsewhere, under a lock of its own, is so much by now."""
        place = _PLACES[name]
        self._totals[place] = self._before[place] + total

    def get(self, name: str) -> float:
        with self._lock:
            return self._totals[_PLACES[name]]

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Counts the seconds a caller had to wait."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add("blocked_seconds", time.monotonic() - started)

    def counts(self, **gauges: int) -> Counts:
        with self._lock:
            totals = {
                name: self._totals[place] if name == "blocked_seconds" else int(self._totals[place])
                for name, place in _PLACES.items()
                if name != "kept_hits"
            }
        return Counts(**(totals | gauges))  # type: ignore[arg-type]  # names are the fields'
