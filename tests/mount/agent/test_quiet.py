"""Which files are sent while they may still change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from datastores.transfer.sources import Found
from mount.agent.quiet import Quiet, is_written

_FILE = Found("/out/x", "x", 10, 1, 7)


def test_a_file_is_ripe_after_a_quiet_while() -> None:
    """A file is sent once it was the same for the time set, counted from its last change."""
    quiet = Quiet(1.0)
    grown = replace(_FILE, size=11)

    seen = [
        quiet.ripe([one], now)
        for one, now in ((_FILE, 0.0), (_FILE, 0.9), (grown, 1.5), (grown, 2.4), (grown, 2.5))
    ]

    assert seen == [[], [], [], [], [grown]]


def test_a_file_that_changes_after_it_was_sent_waits_twice_as_long() -> None:
    """Each time a file changes after it was sent, the quiet it needs doubles."""
    quiet = Quiet(1.0)
    waits: list[float] = []
    now = 0.0
    for size in range(4):
        file = replace(_FILE, size=size)
        began = now
        while not quiet.ripe([file], now):
            now += 0.5
        quiet.sent("x")
        waits.append(now - began)

    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_an_open_file_is_told_from_a_closed_one(tmp_path: Path) -> None:
    """A file counts as written while somebody has it open for writing, and no longer."""
    path = tmp_path / "x"
    with path.open("w") as file:
        file.write("half")
        file.flush()
        while_open = is_written(str(path))
    with path.open() as reader:
        while_read = is_written(str(path))
        reader.read()

    assert (while_open, while_read, is_written(str(tmp_path / "gone"))) == (True, False, True)
