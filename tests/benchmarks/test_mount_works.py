"""What is done in a mount, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mounts.data import damages, make_data, names_of, offsets_of
from benchmarks.mounts.peers import DEFAULT_PEERS, FLOOR, OURS, PEERS
from benchmarks.mounts.program import do_work
from benchmarks.mounts.works import Kind, Phase, Turn, Work, plan_turns, works
from benchmarks.workloads import KIB, MIB

FEW = (
    Work("read", "", Kind.READ, 5, 100 * KIB, readers=2),
    Work("large", "", Kind.READ, 1, 3 * MIB + 5),
    Work("random", "", Kind.RANDOM, 1, 9 * MIB, block_bytes=64 * KIB, blocks=40),
    Work("map", "", Kind.MAP, 1, 3 * MIB, block_bytes=MIB),
    Work("stat", "", Kind.STAT, 7, 0),
    Work("list", "", Kind.LIST, 7, 0),
    Work("write", "", Kind.WRITE, 3, 5000),
)


def test_turns_are_interleaved_work_by_work() -> None:
    """A B A B of the first work, then of the second."""
    one, other = FEW[:2]

    turns = list(plan_turns([one, other], ["a", "b"], 2, {"a": True, "b": True}))

    assert turns == [
        Turn(work, peer, number)
        for work in (one, other)
        for number in (1, 2)
        for peer in ("a", "b")
    ]


def test_who_cannot_write_has_no_turn_at_it() -> None:
    """A peer that only reads is left out of works that write, and of no other."""
    reading, writing = FEW[0], FEW[-1]

    turns = list(plan_turns([reading, writing], ["a", "b"], 1, {"a": True, "b": False}))

    assert [(turn.work.name, turn.peer) for turn in turns] == [
        *(("read", "a"), ("read", "b"), ("write", "a"))
    ]


def test_quick_works_have_the_same_names_and_shape() -> None:
    """A quick run does the same with fewer bytes or files."""
    quick, full = works(quick=True), works(quick=False)

    assert list(quick) == list(full)
    for name, work in full.items():
        small = quick[name]
        assert (small.kind, small.readers) == (work.kind, work.readers)
        assert (small.files, small.file_bytes, small.blocks) < (
            *(work.files + 1, work.file_bytes + 1, work.blocks + 1),
        )


def test_a_write_is_done_once_and_all_else_twice() -> None:
    """What is there already cannot be made again."""
    phases = {work.name: work.phases for work in works(quick=True).values()}

    assert {name for name, one in phases.items() if one == (Phase.COLD,)} == {"create", "write"}
    assert all(one == (Phase.COLD, Phase.WARM) for one in phases.values() if len(one) == 2)


@pytest.mark.parametrize("work", FEW, ids=lambda work: work.name)
def test_the_program_does_all_of_its_work(work: Work, tmp_path: Path) -> None:
    """On a plain folder every file is met once and every byte counted."""
    if not work.writes:
        make_data(work, tmp_path, 1)

    done = do_work(work, tmp_path, 1)

    assert (done.files, done.bytes) == (work.files, work.moved_bytes)
    assert done.seconds > 0


def test_what_the_program_writes_is_what_is_looked_for(tmp_path: Path) -> None:
    """New files have the bytes by which they are recognised afterwards."""
    work = FEW[-1]
    pieces = make_data(work, tmp_path / "wanted", 1)
    (tmp_path / "written").mkdir()

    do_work(work, tmp_path / "written", 1)

    assert damages(tmp_path / "written", pieces) == []


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Also in the middle of a sparse file, where random readers read."""
    work = FEW[2]
    pieces = make_data(work, tmp_path, 1)
    assert damages(tmp_path, pieces) == []
    (name,) = names_of(work)

    with (tmp_path / name).open("r+b") as file:
        file.seek(pieces[7].offset + 100)
        file.write(b"?")

    assert len(damages(tmp_path, pieces)) == 1


def test_a_sparse_file_takes_no_room(tmp_path: Path) -> None:
    """A file of half a gigabyte is on the disk what is read of it, and no more."""
    work = Work("random", "", Kind.RANDOM, 1, 512 * MIB, block_bytes=4 * KIB, blocks=10)

    make_data(work, tmp_path, 1)

    status = (tmp_path / names_of(work)[0]).stat()
    assert (status.st_size, status.st_blocks * 512 <= MIB) == (512 * MIB, True)


def test_random_readers_all_read_the_same(tmp_path: Path) -> None:
    """The seed decides where, within the file and on boundaries of 4 KiB."""
    work = FEW[2]

    offsets = offsets_of(work, 1)

    assert offsets == offsets_of(work, 1) != offsets_of(work, 2)
    assert all(at % (4 * KIB) == 0 and at + work.block_bytes <= work.file_bytes for at in offsets)


def test_the_floor_is_the_only_peer_without_a_mount() -> None:
    """Everybody else is started by a command."""
    assert [name for name, peer in PEERS.items() if peer.command is None] == [FLOOR]
    assert {OURS, FLOOR} <= set(DEFAULT_PEERS) < set(PEERS)
