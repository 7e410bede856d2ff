"""Progress in a log: one plain line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from typing_extensions import override

from datastores.secret import redact
from datastores.text import printable
from datastores.transfer.watcher import Silent

_MIB = 1 << 20


class Lines(Silent):
    """One line every `every_seconds` while something happens, one per failure, one at the end."""

    def __init__(
        self,
        title: str,
        stream: TextIO | None = None,
        *,
        every_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._stream = stream or sys.stderr
        self._every = every_seconds
        self._clock = clock
        self._lock = threading.Lock()
        # Everything below is under the lock.
        self._began = self._told = clock()
        self._files = self._size = self._done = self._moved = self._failed = 0

    @override
    def found(self, files: int, size: int) -> None:
        with self._lock:
            self._files += files
            self._size += size

    @override
    def moved(self, name: str, size: int) -> None:
        with self._lock:
            self._moved += size
            self._tell_sometimes()

    @override
    def finished(self, name: str) -> None:
        with self._lock:
            self._done += 1
            self._tell_sometimes()

    @override
    def skipped(self, name: str, why: str) -> None:
        self.finished(name)

    @override
    def failed(self, name: str, error: BaseException) -> None:
        with self._lock:
            self._failed += 1
            self._write(f"failed: {printable(name)}: {redact(str(error))}")

    @override
    def close(self) -> None:
        with self._lock:
            self._tell()

    def _tell_sometimes(self) -> None:
        if self._clock() - self._told >= self._every:
            self._tell()

    def _tell(self) -> None:
        self._told = self._clock()
        elapsed = max(self._told - self._began, 1e-9)
        rate = self._moved / elapsed
        line = (
            f"{self._done} of {self._files} files, "
            f"{self._moved / _MIB:.1f} of {self._size / _MIB:.1f} MiB, {rate / _MIB:.1f} MiB/s"
        )
        if rate and self._size > self._moved:
            line += f", {(self._size - self._moved) / rate:.0f} s left"
        if self._failed:
            line += f", {self._failed} failed"
        self._write(line)

    def _write(self, line: str) -> None:
        self._stream.write(f"{self._title}: {line}\n")
        self._stream.flush()
