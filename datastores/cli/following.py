"""A run as it goes on: what its script says, and how far it is."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from datastores.errors import Unavailable

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.records import RunRecord

_TICK_SECONDS = 0.1
# A look at the registry in so many ticks.
_LOOK_EVERY = 3
_PIECE_BYTES = 1 << 16

_WORDS = {
    "Preparing": "getting its data",
    "Running": "running",
    "Finalizing": "sending its results",
    "CancelRequested": "ending",
}


class LogTail:
    """What a growing file says, a piece at a time; it need not be there yet."""

    def __init__(self, path: Path, show: Callable[[bytes], None]) -> None:
        self._path, self._show = path, show
        self._offset = 0

    def advance(self) -> None:
        """Show what is new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while piece := file.read(_PIECE_BYTES):
                    self._offset += len(piece)
                    self._show(piece)
        except FileNotFoundError:
            return


def follow(
    workspace: Workspace, run_id: str, *, to_stderr: bool = False, quiet: bool = False
) -> RunRecord:
    """Show what the run says until it has ended; its record.

    Ctrl-C asks the run to end and waits for that; the second time it leaves at once. A run that
    nobody looks after any more is `Unavailable`.
    """
    watch = _Follow(workspace, run_id, to_stderr=to_stderr, quiet=quiet)
    while True:
        try:
            return watch.until_end()
        except KeyboardInterrupt:
            watch.cancel_or_leave()


class _Follow:
    def __init__(self, workspace: Workspace, run_id: str, *, to_stderr: bool, quiet: bool) -> None:
        from datastores.submission.supervising import place_here

        self._workspace, self._run_id, self._quiet = workspace, run_id, quiet
        self._record = self._look()
        place = place_here(self._record)
        stream = sys.stderr if to_stderr else sys.stdout
        self._tail = None if place is None else LogTail(place.output_log, writer(stream.fileno()))
        self._pause = threading.Event()
        self._told = ""
        self._is_canceled = False

    def until_end(self) -> RunRecord:
        while not self._record.is_finished:
            self._say()
            for _ in range(_LOOK_EVERY):
                self._advance()
                self._pause.wait(_TICK_SECONDS)
            self._record = self._look()
            self._refuse_silence()
        self._advance()
        return self._record

    def cancel_or_leave(self) -> None:
        from datastores.submission.supervising import cancel

        if self._is_canceled:
            click.echo(
                f"left; the run goes on ending by itself: datastores runs show {self._run_id}",
                err=True,
            )
            raise click.Abort from KeyboardInterrupt()
        self._is_canceled = True
        click.echo("ending the run (Ctrl-C again leaves it to itself)", err=True)
        cancel(self._workspace, self._run_id)

    def _look(self) -> RunRecord:
        from datastores.submission.supervising import look

        return look(self._workspace, self._run_id)

    def _advance(self) -> None:
        if self._tail is not None:
            self._tail.advance()

    def _say(self) -> None:
        word = _WORDS.get(self._record.status, "")
        if word and word != self._told and not self._quiet and sys.stderr.isatty():
            self._told = word
            click.echo(click.style(f"-- {word}", dim=True), err=True)

    def _refuse_silence(self) -> None:
        if self._record.status == "NotResponding":
            self._advance()
            raise Unavailable(
                f"run {self._run_id}",
                None,
                f"whoever looked after it was killed; go on with: "
                f"datastores runs resume {self._run_id}",
            )


def writer(fd: int) -> Callable[[bytes], None]:
    """Writes pieces to a descriptor, whole."""

    def write(piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view) :]

    return write
