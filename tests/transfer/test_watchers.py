"""What people and programs see while a transfer runs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from datastores.errors import TransferFailed, Unavailable
from datastores.secret import Secret
from datastores.storage.memory import MemoryStore
from datastores.transfer import Options, Watcher, download
from datastores.transfer.bar import Bar
from datastores.transfer.json_events import JsonEvents
from datastores.transfer.lines import Lines
from datastores.transfer.tally import Tally
from tests.contracts.faulty_store import Fault, FaultyStore

SECRET = Secret("canary-secret-value")


def run(watcher: Watcher, target: Path) -> None:
    """A download of three files, of which one fails with a message that holds a secret."""
    store = MemoryStore()
    for name in ("a", "b", "c"):
        store.write(name, b"0123456789")
    trouble = Unavailable("s", "x", f"refused {SECRET.reveal()}")
    faulty = FaultyStore(store).plan("read", Fault(error=trouble))
    with pytest.raises(TransferFailed):
        download(faulty, "", target, watcher=watcher)


def test_json_events_tell_the_whole_story(tmp_path: Path) -> None:
    """Each file is found and ends once, bytes add up, the last event says it is over."""
    stream = io.StringIO()

    run(JsonEvents(stream), tmp_path)

    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    kinds = [event["event"] for event in events]
    assert {kind: kinds.count(kind) for kind in ("found", "finished", "failed", "closed")} == {
        "found": 3,
        "finished": 2,
        "failed": 1,
        "closed": 1,
    }
    assert sum(event["bytes"] for event in events if event["event"] == "moved") == 20
    assert kinds[-1] == "closed"
    assert {datetime.fromisoformat(event["time"]).utcoffset() for event in events} == {timedelta()}


def test_lines_are_few_and_plain(tmp_path: Path) -> None:
    """A short transfer prints its failure and one summary line, without control characters."""
    stream = io.StringIO()

    run(Lines("train", stream), tmp_path)

    failure, last = stream.getvalue().splitlines()
    assert failure.startswith("train: failed: ")
    assert last.startswith("train: 2 of 3 files, 0.0 of 0.0 MiB, ")
    assert last.endswith(", 1 failed")


def test_lines_come_every_few_seconds() -> None:
    """While bytes move there is one line per period, with what is left."""
    stream, now = io.StringIO(), [0.0]
    lines = Lines("t", stream, every_seconds=5, clock=lambda: now[0])
    lines.found(1, 100 << 20)

    for second in range(1, 21):
        now[0] = float(second)
        lines.moved("a", 1 << 20)

    told = stream.getvalue().splitlines()
    assert len(told) == 4
    assert told[0] == "t: 0 of 1 file, 5.0 of 100.0 MiB, 1.0 MiB/s, 95 s left"


def test_the_bar_shows_files_and_failures(tmp_path: Path) -> None:
    """On a terminal: files done of files found, and failures in full above the bar."""
    stream = io.StringIO()

    run(Bar("train", Console(file=stream, force_terminal=True, width=120)), tmp_path)

    shown = stream.getvalue()
    assert "failed: " in shown
    assert "2 of 3 files, 0.0 of 0.0 MiB, " in shown
    assert ", 1 failed" in shown


def test_the_bar_and_the_lines_say_the_same() -> None:
    """Files, bytes, rate, time left in one order everywhere; no time left before a byte moved."""
    now = [0.0]
    tally = Tally(clock=lambda: now[0])
    tally.found(3, 30 << 20)
    now[0] = 2.0
    before = str(tally)
    tally.moved(1 << 20)
    tally.finished()
    stream, terminal = io.StringIO(), io.StringIO()
    watchers = (
        Lines("x", stream, clock=lambda: 0.0),
        Bar("x[y]", Console(file=terminal, force_terminal=True, width=120)),
    )
    for watcher in watchers:
        watcher.found(3, 30 << 20)
        watcher.close()

    assert before == "0 of 3 files, 0.0 of 30.0 MiB, 0.0 MiB/s"
    assert str(tally) == "1 of 3 files, 1.0 of 30.0 MiB, 0.5 MiB/s, 58 s left"
    assert stream.getvalue() == f"x: {before}\n"
    assert before in terminal.getvalue()
    assert "x[y]" in terminal.getvalue()


@pytest.mark.parametrize("kind", ["bar", "lines", "json"])
def test_no_watcher_tells_secrets(tmp_path: Path, kind: str) -> None:
    """A secret in an error's text is masked wherever progress goes."""
    stream = io.StringIO()
    kinds: dict[str, Callable[[], Watcher]] = {
        "bar": lambda: Bar("t", Console(file=stream, force_terminal=True, width=200)),
        "lines": lambda: Lines("t", stream),
        "json": lambda: JsonEvents(stream),
    }
    watcher = kinds[kind]()

    run(watcher, tmp_path)

    assert "failed" in stream.getvalue()
    assert SECRET.reveal() not in stream.getvalue()
    assert SECRET.reveal() not in (tmp_path / ".datastores-failed.json").read_text()


def test_skips_are_told_with_their_reason(tmp_path: Path) -> None:
    """A second download tells every file as skipped because it is unchanged."""
    store = MemoryStore()
    store.write("a", b"1")
    download(store, "", tmp_path)
    stream = io.StringIO()

    download(store, "", tmp_path, options=Options(), watcher=JsonEvents(stream))

    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(e["name"], e["why"]) for e in events if e["event"] == "skipped"] == [
        ("a", "unchanged")
    ]
