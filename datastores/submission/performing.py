"""What a runner does for a run, by the kind of its order."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from datastores.catalog.workspace import Workspace
from datastores.errors import DatastoresError
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from datastores.secret import redact
from datastores.submission.agent_process import AgentProcess
from datastores.submission.book import Book
from datastores.submission.ending import Ending, ending_of
from datastores.submission.leasing import Lessor
from datastores.submission.order import JobOrder, PipelineOrder, TransferOrder, order_of_wire
from datastores.submission.place import RunPlace
from datastores.submission.watching import run_agent
from datastores.value import Value

log = logging.getLogger(__name__)

# A run has ended long before its logs are given up.
_FILES_SECONDS = 120.0
# As long as a database takes to come back; after that the next look at the run writes it down.
_REGISTRY_SECONDS = 1800.0
_CANCELED = Ending(Status.CANCELED, 130)


class Desk(Value):
    """A workspace and its history, for everything that one runner does; threads may share it."""

    workspace: Workspace
    history: RunHistory
    # For the first job of this desk, if it has one.
    waiting: AgentProcess | None = None

    @classmethod
    def of(cls, workspace: Workspace, waiting: AgentProcess | None = None) -> Desk:
        return cls(workspace, RunHistory(workspace.registry, workspace.name), waiting)

    def perform(self, run_id: str, place: RunPlace) -> Ending:
        """Carry out the order in this folder, and write down how it ended."""
        book = Book(self.history, run_id, place.events)
        try:
            ending = self._perform(place, book)
        except DatastoresError as error:
            ending = Ending(Status.FAILED, error.exit_code, redact(str(error)))
        except Exception as error:
            log.exception("a defect ended the run")
            text = redact(f"{type(error).__name__}: {error}")
            ending = Ending(Status.FAILED, 1, f"a defect ended the run: {text}; see its runner.log")
        book.finish(self._with_files(run_id, place, ending), _REGISTRY_SECONDS)
        log.info("run %s ended: %s, exit code %s", run_id, ending.status, ending.exit_code)
        return ending

    def _with_files(self, run_id: str, place: RunPlace, ending: Ending) -> Ending:
        """The run's logs and `outputs/` go to the default datastore; what does not is a warning."""
        if ending.report is None and not place.has_begun():
            return ending
        from datastores.history.files import keep_run_files

        kept: list[str] = []

        def keep() -> None:
            try:
                keep_run_files(self.workspace, run_id, place.root)
            except DatastoresError as error:
                kept.append(redact(str(error)))

        worker = threading.Thread(target=keep, name="datastores-files", daemon=True)
        worker.start()
        worker.join(_FILES_SECONDS)
        if worker.is_alive():
            kept.append(f"the default datastore did not take them within {_FILES_SECONDS:.0f} s")
        if not kept:
            return ending
        log.warning("logs and outputs stay on this machine: %s", kept[0])
        note = f"logs and outputs/ stay in {place.root}: {kept[0]}"
        report = dict(ending.report or {})
        return replace(ending, report={**report, "warnings": [*report.get("warnings", ()), note]})

    def _perform(self, place: RunPlace, book: Book) -> Ending:
        order = order_of_wire(place.load_order())
        if place.cancel_mark.exists() or book.cancel_is_wanted():
            place.cancel_mark.touch()
        match order:
            case JobOrder():
                return self._job(order, place, book)
            case TransferOrder():
                from datastores.submission.transferring import transfer_places

                return transfer_places(self.workspace, order, place, book)
            case PipelineOrder():
                from datastores.submission.stepping import run_steps

                return run_steps(self.workspace, self.perform, order, place, book)

    def _job(self, order: JobOrder, place: RunPlace, book: Book) -> Ending:
        if place.cancel_mark.exists() and place.agent_is_gone() and not place.has_begun():
            return _CANCELED
        book.reach(Status.STARTING)
        lessor = Lessor(self.workspace, order.lease_seconds)
        end = run_agent(place, order, lessor, book, self.waiting)
        was_canceled = place.cancel_mark.exists() or book.cancel_is_wanted()
        return ending_of(place.load_report(), end, was_canceled=was_canceled)
