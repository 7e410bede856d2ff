"""Waiting for the end of a run, with its output if that is wanted."""

from __future__ import annotations

import codecs
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from datastores.errors import RunFailed
from datastores.history.records import RunRecord
from datastores.history.status import Status

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
# What scrolls by should not come in jerks.
_LONGEST_SILENCE_SECONDS = 0.5
_CHUNK_BYTES = 64 * 1024


def follow(look: Callable[[], RunRecord], *, show_output: bool, raise_on_error: bool) -> RunRecord:
    """The run's record once it has ended; an interrupt ends the waiting and not the run."""
    first = look()
    try:
        if show_output:
            _say(f"RunId: {first.run_id}\n\n")
        last = _until_end(look, first, show_output=show_output)
    except KeyboardInterrupt:
        _say(f'\nrun "{first.run_id}" goes on; run.cancel() ends it\n')
        raise
    if show_output:
        _say(_summary(last))
    if last.status is Status.NOT_RESPONDING:
        raise RunFailed(
            last.run_id,
            "has nobody who looks after it any more: its runner was killed; "
            "datastores.submission.resume(workspace, run_id) goes on with it",
        )
    if raise_on_error and last.status is Status.FAILED:
        reason = last.error or "it gave no reason"
        raise RunFailed(
            last.run_id, f"failed: {reason}; run.get_details_with_logs() shows its logs"
        )
    return last


def _until_end(look: Callable[[], RunRecord], record: RunRecord, *, show_output: bool) -> RunRecord:
    output = _Output(Path(record.folder) / "logs" / "output.log" if record.folder else None)
    longest = _LONGEST_SILENCE_SECONDS if show_output else _LONGEST_PAUSE_SECONDS
    pause, never = _FIRST_PAUSE_SECONDS, threading.Event()
    while not (record.is_finished or record.status is Status.NOT_RESPONDING):
        if show_output and output.show():
            pause = _FIRST_PAUSE_SECONDS
        never.wait(pause)
        pause = min(pause * 1.5, longest)
        record = look()
    if show_output:
        output.show()
    return record


class _Output:
    """A log that grows, shown once."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._shown = path, 0
        # A letter may arrive in two pieces.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def show(self) -> bool:
        """Show what is new; whether there was something."""
        if self._path is None or not self._path.is_file():
            return False
        begin = self._shown
        with self._path.open("rb") as file:
            file.seek(begin)
            while piece := file.read(_CHUNK_BYTES):
                self._shown += len(piece)
                _say(self._decoder.decode(piece))
        return self._shown > begin


def _summary(record: RunRecord) -> str:
    lines = ["", "Execution Summary", "=================", f"RunId: {record.run_id}"]
    lines.append(f"Status: {record.status}")
    if record.error:
        lines.append(f"Error: {record.error}")
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
