"""Runs that were submitted: where they stand, how they are ended, how they go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from datastores.catalog.workspace import Workspace
from datastores.errors import AlreadyRegistered, DefinitionRejected
from datastores.history.records import STEP_RUN, RunRecord
from datastores.history.run_history import RunHistory
from datastores.history.status import Status, may_follow
from datastores.submission.book import Book
from datastores.submission.ending import Ending, ending_of_report
from datastores.submission.launching import claimed, launch
from datastores.submission.order import JobOrder, order_of_wire
from datastores.submission.place import RunPlace


def look(workspace: Workspace, run_id: str) -> RunRecord:
    """The run as it is: one whose runner was killed on this machine is `NotResponding`.

    What such a run's agent has settled meanwhile is written down.
    """
    history = _history(workspace)
    return look_at(history, [history.get(run_id)])[0]


def look_at(history: RunHistory, records: Iterable[RunRecord]) -> list[RunRecord]:
    """The same for several records that were read already."""
    return [_looked_at(history, record) for record in records]


def cancel(workspace: Workspace, run_id: str) -> RunRecord:
    """Ask a run to end, wherever it is; one that has ended stays as it is."""
    history = _history(workspace)
    record = history.get(run_id)
    if record.is_finished:
        return record
    record = history.update(run_id, _cancel_requested)
    place = place_here(record)
    if place is None:
        return record
    with contextlib.suppress(FileNotFoundError):
        place.cancel_mark.touch()
    if _is_abandoned(history, record, place):
        # Somebody has to end what is still at work, and to write it down.
        _relaunch(workspace, history, record)
    return history.get(run_id)


def resume(workspace: Workspace, run_id: str) -> RunRecord:
    """Go on with a run whose runner was killed, or that could not deliver everything.

    A script that was started is never started again.
    """
    history = _history(workspace)
    record = history.get(run_id)
    place = place_here(record)
    if place is None:
        raise DefinitionRejected(
            run_id,
            "its folder is not on this machine; resume it where it was submitted"
            if record.folder
            else "it was not submitted from here, so there is nothing to go on with",
        )
    if record.is_finished and not _has_something_left(record):
        raise DefinitionRejected(
            run_id, f"it has ended ({record.status}) and nothing is left to do; submit it again"
        )
    if _parent_with_folder(history, record) is not None:
        raise DefinitionRejected(
            run_id, f'it is a step of a pipeline; resume the pipeline, "{record.parent}"'
        )
    if not place.is_watched():
        _relaunch(workspace, history, record)
    return history.get(run_id)


def place_here(record: RunRecord) -> RunPlace | None:
    """The run's folder, if it is on this machine."""
    if record.folder is None:
        return None
    place = RunPlace(Path(record.folder))
    return place if place.order.is_file() else None


def _looked_at(history: RunHistory, record: RunRecord) -> RunRecord:
    place = None if record.is_finished else place_here(record)
    if place is None or not _is_abandoned(history, record, place):
        return record
    # It may have ended between the two looks.
    record = history.get(record.run_id)
    if record.is_finished:
        return record
    ending = _settled(place)
    if ending is not None:
        book = Book(history, record.run_id, place.events)
        book.ingest(is_over=True)
        return book.finish(ending)
    return history.update(record.run_id, _silent)


def _is_abandoned(history: RunHistory, record: RunRecord, place: RunPlace) -> bool:
    """Whether nobody looks after the run; a step's runner is that of its pipeline."""
    watched = _parent_with_folder(history, record) or place
    return not watched.is_watched()


def _parent_with_folder(history: RunHistory, record: RunRecord) -> RunPlace | None:
    if record.parent is None or record.type != STEP_RUN:
        return None
    return place_here(history.get(record.parent))


def _settled(place: RunPlace) -> Ending | None:
    """How the run ended, if its agent is gone and has left nothing to do."""
    if not place.agent_is_gone() or not isinstance(order_of_wire(place.load_order()), JobOrder):
        return None
    report = place.load_report()
    if report is None:
        return None
    ending = ending_of_report(report)
    return ending if ending.is_settled else None


def _has_something_left(record: RunRecord) -> bool:
    return record.report is not None and record.report.get("is_settled") is False


def _relaunch(workspace: Workspace, history: RunHistory, record: RunRecord) -> None:
    place = place_here(record)
    assert place is not None
    # Somebody else may have been quicker, and then nothing is left to do.
    with contextlib.suppress(AlreadyRegistered), claimed(place) as lock:
        history.update(record.run_id, _starting)
        launch(workspace, place, lock)


def _cancel_requested(record: RunRecord) -> RunRecord:
    wanted = Status.CANCEL_REQUESTED
    return replace(record, status=wanted) if may_follow(record.status, wanted) else record


def _silent(record: RunRecord) -> RunRecord:
    wanted = Status.NOT_RESPONDING
    return replace(record, status=wanted) if may_follow(record.status, wanted) else record


def _starting(record: RunRecord) -> RunRecord:
    wanted = Status.STARTING
    return replace(record, status=wanted) if may_follow(record.status, wanted) else record


def _history(workspace: Workspace) -> RunHistory:
    return RunHistory(workspace.registry, workspace.name)
