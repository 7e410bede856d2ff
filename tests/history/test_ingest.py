"""From the events file into the registry: every good line once."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datastores import Workspace
from datastores.history.entries import Entry
from datastores.history.events import encode
from datastores.history.events_file import EventsFile
from datastores.history.ingest import ingest
from datastores.history.metrics import Metric, MetricKind
from datastores.history.records import ExperimentName, RunFile, RunId, RunRecord
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from tests.history.conftest import RUN

# What happens to a file and to those who take it in.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 5)),
        st.tuples(st.just("tear"), st.integers(1, 40)),
        st.tuples(st.just("junk"), st.binary(max_size=20)),
        st.tuples(st.just("ingest"), st.integers(0, 3)),
    ),
    max_size=14,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS, st.integers(1, 200))
def test_every_good_line_goes_in_once(
    history: RunHistory, tmp_path_factory: pytest.TempPathFactory, steps: Any, piece_bytes: int
) -> None:
    """
    However a file grows, with torn and senseless lines between, and however often it is taken in,
    from whatever offset and in whatever pieces: the registry has each good line once, in order.
    """
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    run_id = RunId.new("cats")
    history.create(RunRecord(run_id, ExperimentName("cats")))
    file, offsets = EventsFile(path), [0]
    written: list[int] = []

    for what, how in steps:
        if what == "write":
            for _ in range(how):
                file.append(_entry(run_id, len(written)))
                written.append(len(written))
        elif what == "tear":
            _append(path, b"\n" + encode(_entry(run_id, 10**6))[:how])
        elif what == "junk":
            _append(path, how)
        else:
            known = offsets[how % len(offsets)]
            offsets.append(ingest(history, run_id, path, known, piece_bytes=piece_bytes))
    end = ingest(history, run_id, path, 0, is_over=True, piece_bytes=piece_bytes)

    assert [one.value for one in history.metrics(run_id)] == written
    assert end == (path.stat().st_size if path.exists() else 0)
    assert history.get(run_id).events_offset == end
    assert ingest(history, run_id, path, 0, is_over=True) == end


def test_a_torn_last_line_waits(history: RunHistory, tmp_path: Path) -> None:
    """
    A line that is not complete is left, and goes in when its rest has come.
    """
    path = tmp_path / "events.jsonl"
    line = b"\n" + encode(_entry(RUN, 7)) + b"\n"
    _append(path, line[:30])

    first = ingest(history, RUN, path)
    _append(path, line[30:])
    second = ingest(history, RUN, path, first)

    assert (first, second) == (1, len(line))
    assert [one.value for one in history.metrics(RUN)] == [7]


def test_bad_lines_are_named(
    history: RunHistory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A bad line is skipped with one warning that says where it is and what is wrong with it.
    """
    path = tmp_path / "events.jsonl"
    EventsFile(path).append(_entry(RUN, 1))
    place = path.stat().st_size
    _append(path, b'{"v":1,"run":"cats_1","status":"Done"}\n')
    EventsFile(path).append(_entry(RUN, 2))

    ingest(history, RUN, path)

    assert [one.value for one in history.metrics(RUN)] == [1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        f"the line at byte {place} of \"{path}\" is skipped: 'Done' is not a valid Status"
    ]


def test_a_script_speaks_of_its_own_runs_only(
    history: RunHistory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Events about another run change nothing there; a run below it is made, logged to and ended, and
    its own end is not for the script to tell.
    """
    history.create(RunRecord(RunId("dogs_1"), ExperimentName("dogs"), Status.RUNNING))
    before = history.get("dogs_1")
    file = EventsFile(tmp_path / "events.jsonl")
    child = RunRecord(RunId("cats_1_a"), ExperimentName("cats"), Status.RUNNING, parent=RunId(RUN))
    grandchild = RunRecord(
        RunId("cats_1_b"), ExperimentName("cats"), Status.RUNNING, parent=RunId("cats_1_a")
    )
    stranger = RunRecord(RunId("x"), ExperimentName("cats"), parent=RunId("dogs_1"))
    for entry in (
        _entry("dogs_1", 1),
        _entry("unknown", 1),
        Entry("x", child=stranger),
        Entry("cats_1_a", child=child),
        Entry("cats_1_b", child=grandchild),
        _entry("cats_1_b", 5),
        Entry("cats_1_b", changes={"status": Status.COMPLETED}),
        Entry("cats_1_b", changes={"status": Status.RUNNING, "error": "late"}),
        Entry(RUN, changes={"status": Status.COMPLETED, "error": "said so"}),
    ):
        file.append(entry)

    ingest(history, RUN, file.path)

    assert (history.get("dogs_1"), history.metrics("dogs_1")) == (before, [])
    assert {str(run.run_id) for run in history.list("cats")} == {RUN, "cats_1_a", "cats_1_b"}
    below = history.get("cats_1_b")
    assert (below.status, below.error, below.parent) == (Status.COMPLETED, "late", "cats_1_a")
    assert [one.value for one in history.metrics("cats_1_b")] == [5]
    own = history.get(RUN)
    assert (own.status, own.error) == (Status.RUNNING, "said so")
    assert [record.args for record in caplog.records] == [
        (RUN, "dogs_1"),
        (RUN, "unknown"),
        (RUN, "x"),
    ]


def test_a_known_property_stays_and_holds_nothing_up(
    history: RunHistory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Another value for a property is named and left out; what follows goes in.
    """
    file = EventsFile(tmp_path / "events.jsonl")
    for value in ("first", "second"):
        file.append(Entry(RUN, properties={"commit": value}))
    file.append(_entry(RUN, 1))

    ingest(history, RUN, file.path)

    assert history.get(RUN).properties == {"commit": "first"}
    assert [one.value for one in history.metrics(RUN)] == [1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_long_lines_come_from_their_own_files(history: RunHistory, tmp_path: Path) -> None:
    """
    A table of a megabyte goes in whole although its line in the events file is short.
    """
    file = EventsFile(tmp_path / "events.jsonl")
    table = {"a": ["x" * 100] * 10_000}
    file.append(Entry(RUN, metrics=(Metric("table", MetricKind.TABLE, table),)))

    ingest(history, RUN, file.path)

    assert file.path.stat().st_size < 200
    assert [one.value for one in history.metrics(RUN)] == [table]


def test_files_are_noted_with_their_place_on_the_node(
    history: RunHistory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A file that was handed over is known with its path; a path out of the run's folder is refused.
    """
    file = EventsFile(tmp_path / "events.jsonl")
    source = tmp_path / "model.bin"
    source.write_bytes(b"model")
    kept = file.keep("outputs/model.bin", source, "store")
    file.append(Entry(RUN, files=(kept,)))
    file.append(Entry(RUN, files=(RunFile("outputs/secret", 1, path="../../etc/passwd"),)))

    ingest(history, RUN, file.path)

    (found,) = history.files(RUN)
    path = str(file.folder / "outputs" / "model.bin")
    assert (found.name, found.size, found.datastore, found.place, found.path) == (
        "outputs/model.bin", 5, "store", None, path,
    )  # fmt: skip
    assert ["leave the target folder" in record.getMessage() for record in caplog.records] == [True]


def test_killed_takers_take_nothing_twice(
    workspace: Workspace, history: RunHistory, tmp_path: Path
) -> None:
    """
    Processes that take a growing file in and are killed at random moments neither lose a line nor
    take one twice.
    """
    file = EventsFile(tmp_path / "events.jsonl")
    context = multiprocessing.get_context("fork")
    total = 0
    for _ in range(6):
        for _ in range(300):
            file.append(_entry(RUN, total))
            total += 1
        begun = context.Event()
        child = context.Process(target=_ingest_slowly, args=(workspace, file.path, begun))
        child.start()
        assert begun.wait(60)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join(60)

    taken = len(history.metrics(RUN))
    ingest(history, RUN, file.path)

    assert taken > 0, "no process took in anything, so this proves nothing"
    assert [one.value for one in history.metrics(RUN)] == list(range(total))


def test_what_does_not_exist_yet_is_nothing(history: RunHistory, tmp_path: Path) -> None:
    """
    Before the script's first word there is no file, and nothing to take in.
    """
    assert ingest(history, RUN, tmp_path / "events.jsonl") == 0


def _ingest_slowly(workspace: Workspace, path: Path, begun: Any) -> None:
    history = RunHistory(workspace.registry, workspace.name)
    offset = history.get(RUN).events_offset
    while True:
        # Small pieces, so that a kill finds it between two transactions or inside one.
        offset = ingest(history, RUN, path, offset, piece_bytes=2_000)
        begun.set()


def _entry(run_id: str, value: int) -> Entry:
    return Entry(run_id, metrics=(Metric("value", MetricKind.SCALAR, value),))


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
