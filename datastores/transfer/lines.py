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
from datastores.transfer.tally import Tally
from datastores.transfer.watcher import Silent


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
        self._tally = Tally(clock)
        self._lock = threading.Lock()
        # Under the lock, which also keeps lines whole.
        self._told = clock()

    @override
    def found(self, files: int, size: int) -> None:
        self._tally.found(files, size)

    @override
    def moved(self, name: str, size: int) -> None:
        self._tally.moved(size)
        self._tell_sometimes()

    @override
    def finished(self, name: str) -> None:
        self._tally.finished()
        self._tell_sometimes()

    @override
    def skipped(self, name: str, why: str) -> None:
        self.finished(name)

    @override
    def failed(self, name: str, error: BaseException) -> None:
        self._tally.failed()
        with self._lock:
            self._write(f"failed: {printable(name)}: {redact(str(error))}")

    @override
    def close(self) -> None:
        # What was not there is said elsewhere.
        if not self._tally.is_empty:
            with self._lock:
                self._write(str(self._tally))

    def _tell_sometimes(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._told >= self._every:
                self._told = now
                self._write(str(self._tally))

    def _write(self, line: str) -> None:
        self._stream.write(f"{self._title}: {line}\n")
        self._stream.flush()
