"""Many processes on one history."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from typing import Any

from datastores.errors import RunRefused
from datastores.history.records import RunRecord
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from tests.registry.conftest import WORKSPACE, Home, workspace
from tests.registry.processes import PROCESSES, run_processes
from tests.registry.runs import metric, run_record

ROUNDS = 8
SHARED = "cats_shared"


def test_eight_processes_lose_no_run_and_no_metric(home: Home) -> None:
    """
    Processes that create runs and log to one of them at once give every run its own number and
    lose no metric, and each process's metrics stay in its order.
    """
    _prepared(home)

    run_processes(lambda number, start: _create_and_log(home, number, start))

    with home.open() as registry:
        history = RunHistory(registry, WORKSPACE)
        numbers = sorted(run.number for run in history.every("cats"))
        found = history.metrics_after(SHARED, 0)
        shared = history.get(SHARED)
    assert numbers == list(range(1, PROCESSES * ROUNDS + 2))
    assert [number for number, _ in found] == list(range(1, 2 * PROCESSES * ROUNDS + 1))
    for process in range(PROCESSES):
        of_it = [one.value for _, one in found if one.name == f"p{process}"]
        assert of_it == list(range(2 * ROUNDS))
    assert shared.tags == {f"p{n}": str(ROUNDS - 1) for n in range(PROCESSES)}


def test_of_eight_processes_that_end_a_run_one_wins(home: Home) -> None:
    """
    A change for one state is made by exactly one of several that try it at once.
    """
    _prepared(home)

    reports = run_processes(lambda number, start: _end(home, number, start))

    winners = [number for number, report in enumerate(reports) if report["won"]]
    with home.open() as registry:
        ended = RunHistory(registry, WORKSPACE).get(SHARED)
    assert (len(winners), ended.status) == (1, Status.COMPLETED)
    assert ended.exit_code == winners[0]


def test_updates_of_one_run_follow_each_other(home: Home) -> None:
    """
    Eight processes that count in one field come to the number of all their steps.
    """
    _prepared(home)

    run_processes(lambda number, start: _count(home, number, start))

    with home.open() as registry:
        assert RunHistory(registry, WORKSPACE).get(SHARED).exit_code == PROCESSES * ROUNDS


def test_events_go_in_once_whoever_takes_them_in(home: Home) -> None:
    """
    Eight processes that take in the same pieces of a file at once store each piece once.
    """
    _prepared(home)

    reports = run_processes(lambda number, start: _absorb(home, number, start))

    with home.open() as registry:
        history = RunHistory(registry, WORKSPACE)
        values = [one.value for one in history.metrics(SHARED)]
        offset = history.get(SHARED).events_offset
    assert (values, offset) == (list(range(ROUNDS)), 10 * ROUNDS)
    counted = Counter(report["end"] for report in reports)
    assert counted == {10 * ROUNDS: PROCESSES}


def _prepared(home: Home) -> None:
    with home.open(create=True) as registry:
        registry.add_workspace(workspace(home))
        RunHistory(registry, WORKSPACE).create(run_record(SHARED, status=Status.RUNNING))


def _create_and_log(home: Home, number: int, start: Barrier) -> dict[str, Any]:
    with home.open(patience_seconds=60) as registry:
        history = RunHistory(registry, WORKSPACE)
        start.wait(timeout=60)
        for turn in range(ROUNDS):
            history.create(run_record(f"cats_{number}_{turn}"))
            history.add_metrics(
                SHARED, [metric(f"p{number}", 2 * turn), metric(f"p{number}", 2 * turn + 1)]
            )
            history.tag(SHARED, {f"p{number}": str(turn)})
    return {}


def _end(home: Home, number: int, start: Barrier) -> dict[str, Any]:
    with home.open(patience_seconds=60) as registry:
        start.wait(timeout=60)
        try:
            RunHistory(registry, WORKSPACE).change(
                SHARED, only_in=Status.RUNNING, status=Status.COMPLETED, exit_code=number
            )
        except RunRefused:
            return {"won": False}
        return {"won": True}


def _count(home: Home, number: int, start: Barrier) -> dict[str, Any]:
    def one_more(record: RunRecord) -> RunRecord:
        return replace(record, exit_code=(record.exit_code or 0) + 1)

    with home.open(patience_seconds=60) as registry:
        start.wait(timeout=60)
        for _ in range(ROUNDS):
            RunHistory(registry, WORKSPACE).update(SHARED, one_more)
    return {}


def _absorb(home: Home, number: int, start: Barrier) -> dict[str, Any]:
    from datastores.history.entries import Entry

    with home.open(patience_seconds=60) as registry:
        history = RunHistory(registry, WORKSPACE)
        start.wait(timeout=60)
        at = 0
        while at < 10 * ROUNDS:
            piece = Entry(SHARED, metrics=(metric(value=at // 10),))
            at = history.absorb_events(SHARED, at, at + 10, [piece])
        return {"end": at}
