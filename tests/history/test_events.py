"""The lines that scripts write: whole from many writers, harmless when torn or wrong."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.history.entries import Entry, merged
from datastores.history.events import BadLine, decode, encode, file_name, label_name
from datastores.history.events_file import EventsFile
from datastores.history.metrics import Metric, MetricKind
from datastores.history.records import (
    INTERACTIVE,
    ExperimentName,
    RunFile,
    RunId,
    RunRecord,
)
from datastores.history.status import Status
from tests.history.conftest import RUN

MOMENT = datetime(2031, 5, 4, 3, 2, 1, 654321, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LABEL = TEXT.filter(lambda text: 0 < len(text) <= 255)
VALUES = (
    st.none()
    | st.floats(allow_nan=False)
    | st.integers()
    | TEXT
    | st.lists(st.floats(allow_nan=False))
)
METRICS = st.builds(
    Metric,
    TEXT,
    st.sampled_from(list(MetricKind)),
    VALUES,
    st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
    TEXT,
    st.just(MOMENT),
)
ENTRIES = st.builds(
    Entry,
    st.just(RunId(RUN)),
    metrics=st.lists(METRICS, max_size=3).map(tuple),
    tags=st.dictionaries(LABEL, st.none() | TEXT, max_size=3),
    removed_tags=st.lists(LABEL, max_size=2).map(tuple),
    properties=st.dictionaries(LABEL, TEXT, max_size=2),
    files=st.just((RunFile("outputs/a", 3, "store", None, "outputs/a", MOMENT),)) | st.just(()),
    changes=st.none() | st.just({"status": Status.FAILED, "error": "it broke"}),
)


@given(ENTRIES)
def test_what_is_written_is_read(entry: Entry) -> None:
    """Any entry is the same after its line, which has no line feed inside."""
    line = encode(entry)

    assert b"\n" not in line
    assert decode(line, "cats") == entry


def test_a_child_is_read_as_a_run_that_has_begun() -> None:
    """A child's line gives its record: below its parent, in the experiment of the file's run."""
    child = RunRecord(
        RunId("cats_1_x"),
        ExperimentName("cats"),
        Status.RUNNING,
        created=MOMENT,
        started=MOMENT,
        type=INTERACTIVE,
        display_name="fold 1",
        parent=RunId(RUN),
    )

    found = decode(encode(Entry(child.run_id, child=child)), "cats")

    assert found == Entry(child.run_id, child=child)


BAD: list[Any] = [
    b"", b"{", b"[]", b"7", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"v":1}', b'{"v":2,"run":"a"}',
    b'{"v":1,"run":"../up"}', b'{"v":1,"run":7}', b'{"v":1,"run":"a","metrics":{}}',
    b'{"v":1,"run":"a","metrics":[1]}', b'{"v":1,"run":"a","metrics":[{"name":"x"}]}',
    b'{"v":1,"run":"a","metrics":[{"name":"x","kind":"new","value":1,"at":"2031-01-01T00:00:00+00:00"}]}',
    b'{"v":1,"run":"a","metrics":[{"name":"x","kind":"scalar","value":1,"at":"yesterday"}]}',
    b'{"v":1,"run":"a","metrics":[{"name":"x","kind":"scalar","value":1,"at":"2031-01-01T00:00:00"}]}',
    b'{"v":1,"run":"a","metrics":[{"name":"x","kind":"scalar","value":1,"at":"2031-01-01T00:00:00Z","step":1e400}]}',
    b'{"v":1,"run":"a","metrics":[{"name":"x","kind":"scalar","value":1,"at":"2031-01-01T00:00:00Z","step":99999999999999999999}]}',
    b'{"v":1,"run":"a","tags":[]}', b'{"v":1,"run":"a","tags":{"x":1}}', b'{"v":1,"run":"a","tags":{"":"x"}}',
    b'{"v":1,"run":"a","untag":"x"}', b'{"v":1,"run":"a","untag":[1]}', b'{"v":1,"run":"a","status":"Done"}',
    b'{"v":1,"run":"a","files":[{"name":"../../etc/passwd","size":1,"at":"2031-01-01T00:00:00Z"}]}',
    b'{"v":1,"run":"a","child":{"parent":"b"}}', b'{"v":1,"run":"a","error":["x"]}',
]  # fmt: skip


@pytest.mark.parametrize("line", BAD, ids=lambda line: repr(line[:70]))
def test_what_is_no_event_is_a_bad_line(line: bytes) -> None:
    """Whatever stands in a line, it is an entry or a `BadLine`; nothing else comes out."""
    with pytest.raises(BadLine):
        decode(line, "cats")


@given(st.binary() | st.text().map(str.encode) | METRICS.map(lambda m: repr(m).encode()))
def test_random_bytes_are_bad_lines(line: bytes) -> None:
    """No bytes make the reader fail otherwise than by `BadLine`."""
    with pytest.raises(BadLine):
        decode(line, "cats")


def test_texts_no_database_holds_are_replaced() -> None:
    """NUL and lone surrogates in names and texts become the replacement character."""
    line = json.dumps(
        {
            "v": 1,
            "run": RUN,
            "metrics": [
                {"name": "a\0b", "kind": "scalar", "value": 1, "at": MOMENT.isoformat(),
                 "description": "\ud800"}
            ],
            "tags": {"k": "v\0"},
        }
    ).encode()  # fmt: skip

    found = decode(line, "cats")

    assert [(one.name, one.description) for one in found.metrics] == [("a\ufffdb", "\ufffd")]
    assert found.tags == {"k": "v\ufffd"}


def test_names_are_kept_within_what_every_database_holds() -> None:
    """Labels have 255 characters at most, file names 1024, and places come in one spelling."""
    assert file_name("./outputs//") == "outputs"
    wrong: object
    for wrong in ("", "a/../b", "/", "a//b", "x" * 1025, "a\0"):
        with pytest.raises(ValueError, match="cannot be the name"):
            file_name(wrong)
    assert label_name("x" * 255) == "x" * 255
    for wrong in ("", "x" * 256, "\0", None):
        with pytest.raises(ValueError, match="cannot be the name"):
            label_name(wrong)


def test_neighbours_are_merged_and_nothing_else() -> None:
    """Entries of metrics alone that follow each other become one; order and all else stay."""
    one, two, three = (Metric(name, MetricKind.SCALAR, 1, logged=MOMENT) for name in "abc")
    entries = [
        Entry("r", metrics=(one,)),
        Entry("r", metrics=(two,)),
        Entry("other", metrics=(one,)),
        Entry("r", metrics=(one,), tags={"t": None}),
        Entry("r", metrics=(three,)),
    ]

    assert merged(entries) == [Entry("r", metrics=(one, two)), *entries[2:]]


PROCESSES, THREADS, EACH = 6, 3, 60


def test_lines_of_many_writers_stay_whole(tmp_path: Path) -> None:
    """
    Forked processes with several threads each, writing short and long lines at once, lose none
    and mix none, and each thread's lines stay in its order.
    """
    file = EventsFile(tmp_path / "events.jsonl")
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=_write_from_threads, args=(file, n)) for n in range(PROCESSES)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)

    assert [child.exitcode for child in children] == [0] * PROCESSES
    metrics = [decode(line, "cats").metrics[0] for line in file.lines()]
    by_writer: dict[str, list[int]] = {}
    for metric in metrics:
        by_writer.setdefault(metric.name, []).append(metric.step or 0)
    writers = [f"{p}-{t}" for p in range(PROCESSES) for t in range(THREADS)]
    assert by_writer == {writer: list(range(EACH)) for writer in writers}
    assert sorted({len(str(metric.value)) for metric in metrics}) == [1, 5_000, 100_000]


def test_a_killed_writer_costs_one_line_at_most(tmp_path: Path) -> None:
    """
    Writers killed at random moments in the middle of long lines harm no line of another writer:
    each line there is whole, or is the last of a killed one.
    """
    file = EventsFile(tmp_path / "events.jsonl")
    context = multiprocessing.get_context("fork")
    kills = 12
    for turn in range(kills):
        begun = context.Event()
        child = context.Process(target=_write_until_killed, args=(file, f"killed-{turn}", begun))
        child.start()
        assert begun.wait(60)
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        file.append(_entry("survivor", turn, "x" * 30_000))

    bad, seen = 0, []
    for line in file.lines():
        try:
            seen += [one.step for one in decode(line, "cats").metrics if one.name == "survivor"]
        except BadLine:
            bad += 1
    assert seen == list(range(kills))
    assert bad <= kills


def test_a_torn_line_harms_no_other(tmp_path: Path) -> None:
    """
    Half a line, as a killed writer leaves it, ends where the next writer's line begins.
    """
    file = EventsFile(tmp_path / "events.jsonl")
    file.append(_entry("first", 1, 1))
    with file.path.open("ab") as torn:
        torn.write(encode(_entry("torn", 2, 2))[:-9])
    file.append(_entry("last", 3, 3))

    lines = list(file.lines())

    assert [decode(line, "cats").metrics[0].name for line in (lines[0], lines[2])] == [
        "first",
        "last",
    ]
    with pytest.raises(BadLine):
        decode(lines[1], "cats")


def test_a_full_disk_costs_the_line_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Logging to a device that is full raises nothing; the first loss is warned about by path, and
    other failures are errors.
    """
    # Linux's device that has no room.
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    file = EventsFile(tmp_path / "events.jsonl")

    for step in range(3):
        file.append(_entry("lost", step, 1))

    reason = os.strerror(errno.ENOSPC)
    warning = f'metrics are being lost: "{file.path}" cannot be written ({reason})'
    assert [record.getMessage() for record in caplog.records] == [warning]
    with pytest.raises(FileNotFoundError):
        EventsFile(tmp_path / "missing" / "events.jsonl").append(_entry("x", 1, 1))


def test_a_kept_file_is_whole_or_absent(tmp_path: Path) -> None:
    """
    A source that fails half way leaves the earlier file of its name and nothing beside it.
    """
    file = EventsFile(tmp_path / "events.jsonl")
    source = tmp_path / "model.bin"
    source.write_bytes(b"first")
    kept = file.keep("outputs/model.bin", source)

    with pytest.raises(RuntimeError, match="torn"):
        file.keep("outputs/model.bin", _Breaking())  # type: ignore[arg-type]  # only read is asked

    assert (kept.name, kept.size, kept.path) == ("outputs/model.bin", 5, "outputs/model.bin")
    inside = [path for path in file.folder.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in inside] == [b"first"]


class _Breaking:
    def __init__(self) -> None:
        self.left = [b"half"]

    def read(self, size: int) -> bytes:
        if self.left:
            return self.left.pop()
        raise RuntimeError("torn")


def _entry(name: str, step: int, value: Any) -> Entry:
    return Entry(RUN, metrics=(Metric(name, MetricKind.SCALAR, value, step),))


def _write_from_threads(file: EventsFile, process: int) -> None:
    def write(thread: int) -> None:
        for step in range(EACH):
            size = {0: 100_000, 1: 5_000}.get(step % 7, 1)
            file.append(_entry(f"{process}-{thread}", step, "x" * size))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write_until_killed(file: EventsFile, name: str, begun: Any) -> None:
    step = 0
    while True:
        file.append(_entry(name, step, "y" * 60_000))
        begun.set()
        step += 1
