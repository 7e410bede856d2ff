"""A turn on the floor, which needs no endpoint; and a mount that fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.mounts.data import make_data
from benchmarks.mounts.peers import FLOOR, PEERS
from benchmarks.mounts.server import MountFailed, served
from benchmarks.mounts.tools import MountTools
from benchmarks.mounts.turn import Stage, take_turn
from benchmarks.mounts.works import Kind, Turn, Work
from benchmarks.peers.peer import Command
from benchmarks.tools import Tools

NOWHERE = Path("/nowhere")
TOOLS = MountTools(
    Tools(NOWHERE, NOWHERE, NOWHERE, NOWHERE, Path(sys.executable), ""), NOWHERE, "", NOWHERE
)
READ = Work("read", "", Kind.READ, 5, 100 << 10, readers=2)
WRITE = Work("write", "", Kind.WRITE, 3, 5000)


@pytest.fixture(name="stage")
def fixture_stage(tmp_path: Path) -> Stage:
    """Folders of a comparison."""
    return Stage(TOOLS, tmp_path / "work", tmp_path / "fast", 1, 60)


def test_the_floor_is_read_cold_and_warm(stage: Stage) -> None:
    """Both phases count, and nobody's processes are charged for them."""
    pieces = make_data(READ, stage.floor, 1)

    outcomes = take_turn(stage, Turn(READ, FLOOR, 1), PEERS[FLOOR], pieces)

    assert [(one.phase, one.counts, one.cpu_seconds) for one in outcomes] == [
        *(("cold", True, 0.0), ("warm", True, 0.0))
    ]


def test_a_damaged_floor_does_not_count(stage: Stage) -> None:
    """Wrong bytes are noticed after the clock has stopped, whoever shows them."""
    pieces = make_data(READ, stage.floor, 1)
    (stage.floor / pieces[2].name).write_bytes(bytes(READ.file_bytes))

    outcomes = take_turn(stage, Turn(READ, FLOOR, 1), PEERS[FLOOR], pieces)

    assert [one.rejections for one in outcomes] == [
        (f'"{pieces[2].name}" has other bytes at 0',)
    ] * 2


def test_the_floor_is_written_once(stage: Stage) -> None:
    """A write has one phase and leaves nothing behind."""
    outcomes = take_turn(stage, Turn(WRITE, FLOOR, 1), PEERS[FLOOR], ())

    assert [(one.phase, one.counts) for one in outcomes] == [("cold", True)]
    assert not (stage.work / "mount").exists()


def test_a_missing_floor_is_an_outcome(stage: Stage) -> None:
    """What cannot be read is a rejection with its reason, and no crash."""
    (outcome, _) = take_turn(stage, Turn(READ, FLOOR, 1), PEERS[FLOOR], ())

    assert "No such file" in outcome.rejections[0]


def test_a_peer_that_does_not_mount_says_its_last_words(tmp_path: Path) -> None:
    """The last line of its output is the reason."""
    code = "import sys; print('loading', flush=True); sys.exit('no such remote')"

    with (
        pytest.raises(MountFailed, match="did not mount: no such remote"),
        served(Command([sys.executable, "-c", code]), tmp_path, tmp_path),
    ):
        raise AssertionError("it was never mounted")
