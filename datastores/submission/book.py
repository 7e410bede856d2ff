"""A run's record while a runner looks after the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from datastores.errors import DatastoresError
from datastores.history.ingest import ingest
from datastores.history.records import RunRecord
from datastores.history.run_history import RunHistory
from datastores.history.status import Status, may_follow
from datastores.secret import redact
from datastores.submission.ending import Ending, with_versions

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0


@dataclass(slots=True)
class Book:
    """Writes down what becomes of one run; for one thread.

    A registry that does not answer for a while holds no run up: what was missed is written with
    the next thing, and the end is insisted on.
    """

    history: RunHistory
    run_id: str
    events: Path
    # What the record says as far as we know.
    reached: Status | None = None
    offset: int = 0
    _ingested_bytes: int = field(default=-1)

    def reach(self, status: Status) -> None:
        """Note that the run came so far, unless it is further or is being canceled."""
        if status is self.reached:
            return
        try:
            self.reached = self.history.update(self.run_id, _moved_to(status)).status
        except DatastoresError as error:
            log.warning("the registry was not told of %s: %s", status, redact(str(error)))
            return
        # What was refused is not asked for again each time.
        self.reached = status

    def cancel_is_wanted(self) -> bool:
        """Whether somebody asked for the end of the run, on this machine or another."""
        try:
            return self.history.get(self.run_id).status is Status.CANCEL_REQUESTED
        except DatastoresError as error:
            log.warning("the registry does not answer: %s", redact(str(error)))
            return False

    def ingest(self, *, is_over: bool = False) -> None:
        """Take in what the script reported since the last time; all of it when it `is_over`."""
        try:
            size = self.events.stat().st_size
        except FileNotFoundError:
            return
        if size == self._ingested_bytes and not is_over:
            return
        try:
            self.offset = ingest(
                self.history, self.run_id, self.events, self.offset, is_over=is_over
            )
        except DatastoresError as error:
            log.warning("what the script reported waits: %s", redact(str(error)))
            return
        self._ingested_bytes = size

    def finish(self, ending: Ending, patience_seconds: float = 0.0) -> RunRecord:
        """Write the last page; a run that has one keeps its status and gets the newer report.

        A registry that is away for a while is waited for so long.
        """
        end = time.monotonic() + patience_seconds
        while True:
            try:
                return self.history.update(self.run_id, lambda record: _ended(record, ending))
            except DatastoresError as error:
                if not error.temporary or time.monotonic() >= end:
                    raise
                log.warning("the end is not written down yet: %s", redact(str(error)))
            time.sleep(_PAUSE_SECONDS)


def _moved_to(status: Status) -> Callable[[RunRecord], RunRecord]:
    def decide(record: RunRecord) -> RunRecord:
        return replace(record, status=status) if may_follow(record.status, status) else record

    return decide


def _ended(record: RunRecord, ending: Ending) -> RunRecord:
    status = ending.status if may_follow(record.status, ending.status) else record.status
    began = (ending.report or {}).get("started_at")
    # What the script itself said of its failure is closer to the reason.
    error = ending.error if record.is_finished else record.error or ending.error
    return replace(
        record,
        status=status,
        # The agent knows it better than who looks at it from time to time.
        started=record.started if began is None else datetime.fromtimestamp(float(began), UTC),
        exit_code=ending.exit_code,
        error=error,
        references=with_versions(record.references, ending.report or {}),
        report=ending.report if ending.report is not None else record.report,
    )
