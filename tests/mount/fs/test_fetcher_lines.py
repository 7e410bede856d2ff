"""Lines to fetchers, which carry one question and its answer at a time."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mount.cache.contract import CacheKey
from mount.cache.node_cache import NodeCache
from mount.fs.fetchers import TELL_BYTES, WORTH_IT, Asked
from tests.mount.fs.test_fetchers import FILES, Team
from tests.transfer.forked_store import children

SIZE = 8 * TELL_BYTES


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a large file and small ones."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(SIZE))
    for number in range(FILES):
        (folder / f"{number:03}").write_bytes(str(number).encode() * 50)
    return folder


@pytest.fixture
def team(source: Path, tmp_path: Path) -> Iterator[Team]:
    """Fetchers of that folder, which end with the test and leave no process."""
    before = children()
    with closing(NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)) as cache:
        made = Team(source, cache)
        yield made
        made.fetchers.close()
    assert children() == before


def range_of(team: Team) -> Asked:
    """The large file, asked for as a range until that is worth a process."""
    fact = team.fact("large")
    assert fact.version is not None
    wanted = CacheKey(team.store.identity, "large", fact.version, fact.size)
    for _ in range(WORTH_IT):
        if asked := team.fetchers.begin_range(wanted, 0, SIZE):
            return asked
    raise AssertionError("no line was given")


@pytest.mark.parametrize("heard", [1, 3])
def test_a_line_that_was_left_in_the_middle_is_not_used_again(heard: int, team: Team) -> None:
    """Whoever stops listening to a range leaves none of its answers to another question."""
    begun = range_of(team).landings(SIZE)
    assert isinstance(begun, Generator)
    with closing(begun) as landings:
        landed = [next(landings) for _ in range(heard)]

    assert landed == [TELL_BYTES * (number + 1) for number in range(heard)]
    small = {f"{number:03}": str(number).encode() * 50 for number in range(WORTH_IT)}
    assert _brought(team) == small


def test_a_line_that_was_heard_to_its_end_is_used_again(team: Team) -> None:
    """A range that came whole leaves its line to the next question."""
    asked = range_of(team)
    line = asked.fileno()

    assert list(asked.landings(SIZE))[-1] == SIZE
    again = range_of(team)
    assert again.fileno() == line
    assert list(again.landings(SIZE))[-1] == SIZE


def _brought(team: Team) -> dict[str, bytes]:
    """What comes of one small file after the other."""
    found = {}
    for key in map("{:03}".format, range(WORTH_IT)):
        file = team.bring(key)
        assert file is not None
        with file:
            found[key] = os.pread(file.fd, SIZE, 0)
    return found
