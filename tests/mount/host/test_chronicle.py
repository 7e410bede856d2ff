"""The notes of a file system's process, as a later one reads them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from mount.fs.chronicle import Chronicle


@pytest.fixture
def fds() -> Iterator[tuple[int, int]]:
    """Two memory files."""
    made = os.memfd_create("chronicle"), os.memfd_create("lookups")
    yield made
    for fd in made:
        os.close(fd)


def test_an_empty_chronicle_is_read(fds: tuple[int, int]) -> None:
    """A process that died before its first note leaves nothing, and no trouble."""
    Chronicle.open(*fds)

    assert list(Chronicle.open(*fds).items()) == []


def test_what_was_noted_last_counts(fds: tuple[int, int]) -> None:
    """A put replaces, an add adds, a drop forgets; a later process may go on."""
    first = Chronicle.open(*fds)
    first.put(1, ("a", None, 7))
    first.put(1, ("b",))
    first.add(1, (b"more",))
    first.put(2, "gone")
    first.drop(2)
    first.lookups[5] = 77
    second = Chronicle.open(*fds)
    second.add(1, ("later",))

    third = Chronicle.open(*fds)
    assert dict(third.items()) == {1: [("b",), (b"more",), ("later",)]}
    assert third.lookups[5] == 77


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_note_is_cut_off(fds: tuple[int, int], cut: int) -> None:
    """Whoever dies in the middle of a note leaves those before it, and the next can be read."""
    first = Chronicle.open(*fds)
    first.put(1, "whole")
    whole = first.size_bytes
    first.put(2, "a note of some length")
    assert cut < first.size_bytes - whole
    os.ftruncate(fds[0], os.fstat(fds[0]).st_size - cut)
    second = Chronicle.open(*fds)
    second.put(3, "next")

    assert dict(Chronicle.open(*fds).items()) == {1: ["whole"], 3: ["next"]}


def test_garbage_is_left_behind(fds: tuple[int, int]) -> None:
    """However often notes are replaced, the memory they take stays near what counts."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  # shown where the test fails
    chance = random.Random(seed)
    chronicle = Chronicle.open(*fds)
    want: dict[int, list[bytes]] = {}
    for _ in range(60_000):
        key = chance.randrange(300)
        if chance.random() < 0.1:
            chronicle.drop(key)
            want.pop(key, None)
        elif key in want and chance.random() < 0.2 and len(want[key]) < 5:
            want[key].append(chance.randbytes(40))
            chronicle.add(key, want[key][-1])
        else:
            want[key] = [chance.randbytes(90)]
            chronicle.put(key, want[key][0])

    assert dict(Chronicle.open(*fds).items()) == want
    assert os.fstat(fds[0]).st_blocks * 512 < 3 << 20
