"""Progress on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from datastores.secret import redact
from datastores.text import printable
from datastores.transfer.tally import Tally
from datastores.transfer.watcher import Silent

if TYPE_CHECKING:
    from rich.console import Console


class Bar(Silent):
    """The facts of a log's line behind a bar, on one line that is redrawn; failures stay above."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            # Put into words when the line is drawn, not at every byte.
            TextColumn("{task.fields[tally]}"),
            console=console,
            # Redrawing costs a millisecond.
            refresh_per_second=5,
        )
        self._tally = Tally()
        self._task = self._progress.add_task(escape(title), total=0, tally=self._tally)
        self._progress.start()

    @override
    def found(self, files: int, size: int) -> None:
        self._tally.found(files, size)
        self._progress.update(self._task, total=self._tally.size)

    @override
    def moved(self, name: str, size: int) -> None:
        self._tally.moved(size)
        self._progress.advance(self._task, size)

    @override
    def finished(self, name: str) -> None:
        self._tally.finished()

    @override
    def skipped(self, name: str, why: str) -> None:
        self._tally.finished()

    @override
    def failed(self, name: str, error: BaseException) -> None:
        from rich.text import Text

        self._tally.failed()
        self._progress.console.print(Text(f"failed: {printable(name)}: {redact(str(error))}"))

    @override
    def close(self) -> None:
        self._progress.stop()
