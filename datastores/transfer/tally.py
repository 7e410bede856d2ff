"""How far a transfer is, in the one sentence that every display of it shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_MIB = 1 << 20


class Tally:
    """Counts from many threads: files, bytes, rate, time left where it is known, failures."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Everything below is under the lock.
        self._began = clock()
        self._files = self._size = self._done = self._moved = self._failed = 0

    def found(self, files: int, size: int) -> None:
        with self._lock:
            self._files += files
            self._size += size

    def moved(self, size: int) -> None:
        with self._lock:
            self._moved += size

    def finished(self) -> None:
        with self._lock:
            self._done += 1

    def failed(self) -> None:
        with self._lock:
            self._failed += 1

    @property
    def size(self) -> int:
        """Bytes found."""
        with self._lock:
            return self._size

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found to move."""
        with self._lock:
            return not (self._files or self._failed)

    def __str__(self) -> str:
        with self._lock:
            rate = self._moved / max(self._clock() - self._began, 1e-9)
            facts = [
                f"{self._done} of {self._files} file{'' if self._files == 1 else 's'}",
                f"{self._moved / _MIB:.1f} of {self._size / _MIB:.1f} MiB",
                f"{rate / _MIB:.1f} MiB/s",
            ]
            # Until the first byte, and after the last, nobody knows.
            if rate and self._size > self._moved:
                facts.append(f"{_duration((self._size - self._moved) / rate)} left")
            if self._failed:
                facts.append(f"{self._failed} failed")
        return ", ".join(facts)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
