"""What a mount has done so far, as numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Counts:
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
    # Gauges.
    open_files: int = 0
    open_folders: int = 0
    inodes: int = 0
    lookups: int = 0
    drafts: int = 0
    dirty_bytes: int = 0
    memory_bytes: int = 0


class Counters:
    """Numbers that any thread may raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Under the lock.
        self._totals: dict[str, float] = dict.fromkeys(asdict(Counts()), 0)

    def add(self, name: str, amount: float = 1) -> None:
        with self._lock:
            self._totals[name] += amount

    def get(self, name: str) -> float:
        with self._lock:
            return self._totals[name]

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
                name: value if name == "blocked_seconds" else int(value)
                for name, value in self._totals.items()
            }
        return Counts(**(totals | gauges))  # type: ignore[arg-type]  # names are the fields'
