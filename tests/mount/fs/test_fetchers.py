"""Small files that other processes bring into the cache."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datastores.errors import Corrupted
from mount.cache.contract import CachedFile, CacheKey
from mount.cache.node_cache import NodeCache
from mount.fs import fetchers
from mount.fs.counters import Counters
from mount.fs.facts import Fact, fact_of
from mount.fs.fetchers import LINES, WORTH_IT, Fetchers
from tests.transfer.forked_store import ForkedStore, children

FILES = 200
MOST = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of small files."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:03}").write_bytes(str(number).encode() * 50)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[NodeCache]:
    """An empty cache."""
    made = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    yield made
    made.close()


class Team:
    """Fetchers of one folder, asked by name."""

    def __init__(
        self, source: Path, cache: NodeCache, before: Callable[[str], None] = lambda _: None
    ) -> None:
        self.store = ForkedStore(source, before)
        self.cache = cache
        self.counters = Counters()
        self.fetchers = Fetchers(self.store, cache, MOST, self.counters)

    def fact(self, key: str) -> Fact:
        return fact_of(self.store.stat(key))

    def bring(self, key: str) -> CachedFile | None:
        fact = self.fact(key)
        assert fact.version is not None
        wanted = CacheKey(self.store.identity, key, fact.version, fact.size)
        return self.fetchers.bring(wanted, fact)

    def bring_all(self) -> dict[str, bytes]:
        """What was brought of all files, asked for by as many threads as there are lines."""
        with ThreadPoolExecutor(LINES) as threads:
            keys = [f"{number:03}" for number in range(FILES)]
            found = list(zip(keys, threads.map(self.bring, keys), strict=True))
        brought = {}
        for key, file in found:
            if file is not None:
                with file:
                    brought[key] = os.pread(file.fd, MOST, 0)
        return brought


@pytest.fixture
def team(source: Path, cache: NodeCache) -> Iterator[Callable[..., Team]]:
    """Makes fetchers that end with the test and leave no process."""
    before = children()
    made: list[Team] = []

    def make(before: Callable[[str], None] = lambda _: None) -> Team:
        made.append(Team(source, cache, before))
        return made[-1]

    yield make
    for one in made:
        one.fetchers.close()
    assert children() == before


def test_files_in_quick_succession_come_from_other_processes(
    source: Path, team: Callable[..., Team], tmp_path: Path
) -> None:
    """Whatever is brought is right, is counted, and was read by several processes, none of ours."""
    readers = tmp_path / "readers"
    readers.mkdir()
    one = team(lambda _: (readers / str(os.getpid())).touch())
    brought = one.bring_all()
    assert len(brought) > FILES - 2 * WORTH_IT
    assert brought == {key: (source / key).read_bytes() for key in brought}
    assert one.counters.get("requests") == len(brought)
    assert one.counters.get("bytes_fetched") == sum(map(len, brought.values()))
    processes = {int(path.name) for path in readers.iterdir()}
    assert os.getpid() not in processes
    assert len(processes) >= 2


def test_a_single_file_starts_no_process(team: Callable[..., Team]) -> None:
    """Files that are opened now and then are left to the mount itself."""
    before = children()
    assert team().bring("000") is None
    assert children() == before


def test_a_process_that_dies_leaves_its_file_to_the_mount(team: Callable[..., Team]) -> None:
    """Kills in the middle of files cost those files only, and the next burst has new processes."""

    def die(key: str) -> None:
        if key == "100":
            os.kill(os.getpid(), signal.SIGKILL)

    one = team(die)
    brought = one.bring_all()
    assert "100" not in brought
    assert len(brought) > 0
    one.fetchers.close()


def test_what_a_fetcher_cannot_bring_is_left_to_the_mount(team: Callable[..., Team]) -> None:
    """A refused object is not brought, whatever the reason, and all others are."""

    def refuse(key: str) -> None:
        if int(key) % 2:
            raise Corrupted("folder", key, "read it again")

    brought = team(refuse).bring_all()
    assert brought
    assert not [key for key in brought if int(key) % 2]


def test_another_version_is_not_brought(
    team: Callable[..., Team], source: Path, cache: NodeCache
) -> None:
    """An object that was replaced since it was listed is left to the mount, which learns of it."""
    one = team()
    one.bring_all()
    fact = one.fact("000")
    assert fact.version is not None
    (source / "000").write_bytes(b"new and of another length")
    wanted = CacheKey(one.store.identity, "000", fact.version, fact.size)
    cache.forget(wanted)
    assert one.fetchers.bring(wanted, fact) is None


def test_without_room_the_processes_rest(source: Path, tmp_path: Path) -> None:
    """A full cache is noticed once, and files are fetched where memory can hold them."""
    small = NodeCache.open(tmp_path / "small", quota_bytes=1000, reserve_bytes=0)
    asked = tmp_path / "asked"
    asked.mkdir()
    one = Team(source, small, lambda key: (asked / key).touch())
    try:
        assert one.bring_all() == {}
        # Each line may have had a question under way when the first answer came.
        assert 0 < len(list(asked.iterdir())) <= 2 * LINES
    finally:
        one.fetchers.close()
        small.close()


def test_a_process_holds_nothing_of_the_cache(
    team: Callable[..., Team], source: Path, tmp_path: Path
) -> None:
    """Files that the mount has open when a process is forked can be evicted when it closes them."""
    one = team()
    fact = one.fact("000")
    assert fact.version is not None
    wanted = CacheKey(one.store.identity, "000", fact.version, fact.size)
    held = one.cache.put(wanted, (source / "000").read_bytes())
    before = children()
    one.bring_all()
    forked = children() - before
    assert forked
    folder = str(tmp_path / "cache")
    open_there = [
        target
        for pid in forked
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if (target := str(link.readlink())).startswith(folder) and "/files/" in target
    ]
    held.close()
    assert open_there == []


def test_processes_are_exchanged_without_losing_a_file(
    team: Callable[..., Team], source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Old ones answer what they were asked before they end."""
    monkeypatch.setattr(fetchers, "RENEW_SECONDS", 0.2)
    readers = tmp_path / "readers"
    readers.mkdir()

    def note(_key: str) -> None:
        (readers / str(os.getpid())).touch()
        time.sleep(0.005)

    one = team(note)
    for _ in range(4):
        brought = one.bring_all()
        assert brought == {key: (source / key).read_bytes() for key in brought}
        one.cache.clear()
    assert len(list(readers.iterdir())) > 2


def test_a_machine_that_refuses_to_fork_leaves_all_to_the_mount(
    team: Callable[..., Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is brought, and nothing is tried again at once."""
    tries = []

    def refuse() -> int:
        tries.append(1)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    assert team().bring_all() == {}
    assert len(tries) == 1


def test_closing_ends_those_who_wait(team: Callable[..., Team]) -> None:
    """A reader whose file is on its way when the mount ends is told that it did not come."""
    read, write = os.pipe()

    def stall(key: str) -> None:
        if key == "199":
            os.write(write, b"x")
            signal.pause()

    one = team(stall)
    with ThreadPoolExecutor(2) as threads:
        everything = threads.submit(one.bring_all)
        os.read(read, 1)
        one.fetchers.close()
        assert "199" not in everything.result(30)
    os.close(read)
    os.close(write)
