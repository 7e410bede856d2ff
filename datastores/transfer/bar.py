"""Progress on a terminal."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from datastores.secret import redact
from datastores.text import printable
from datastores.transfer.watcher import Silent

if TYPE_CHECKING:
    from rich.console import Console


class Bar(Silent):
    """Files, bytes, rate and time left on one line that is redrawn; failures stay above it."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[done]}/{task.fields[files]} files"),
            console=console,
            # Redrawing costs a millisecond.
            refresh_per_second=5,
        )
        self._task = self._progress.add_task(title, total=0, done=0, files=0)
        self._lock = threading.Lock()
        # Under the lock.
        self._files = self._done = self._size = 0
        self._progress.start()

    @override
    def found(self, files: int, size: int) -> None:
        with self._lock:
            self._files += files
            self._size += size
            self._progress.update(self._task, total=self._size, files=self._files)

    @override
    def moved(self, name: str, size: int) -> None:
        self._progress.advance(self._task, size)

    @override
    def finished(self, name: str) -> None:
        self._end()

    @override
    def skipped(self, name: str, why: str) -> None:
        self._end()

    @override
    def failed(self, name: str, error: BaseException) -> None:
        from rich.text import Text

        self._progress.console.print(Text(f"failed: {printable(name)}: {redact(str(error))}"))
        self._end()

    @override
    def close(self) -> None:
        self._progress.stop()

    def _end(self) -> None:
        with self._lock:
            self._done += 1
            self._progress.update(self._task, done=self._done)
