"""Reads through the node's cache: the same bytes, one fetch on the node, and never in the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores.errors import NotFound, PreconditionFailed
from datastores.storage.contract import Store
from datastores.storage.memory import MemoryStore
from mount.agent.caching_store import CachingStore
from mount.agent.fetch_locks import FetchLocks
from mount.cache import NodeCache
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.contracts.store_contract import (
    FoldersContract,
    StoreContract,
    content,
    keys,
)

MIB = 1 << 20


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[NodeCache]:
    cache = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    yield cache
    cache.close()


@pytest.fixture
def locks(tmp_path: Path) -> FetchLocks:
    return FetchLocks(tmp_path / "locks")


class TestCachingStore(FoldersContract, StoreContract):
    """Every promise, through the cache."""

    @pytest.fixture
    def store(self, cache: NodeCache, locks: FetchLocks) -> Store:
        return CachingStore(MemoryStore("scratch"), cache, locks, lambda: None)


class TestCachingStoreWithoutRoom(FoldersContract, StoreContract):
    """The same where the cache takes nothing, and where no lock can be had."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        (tmp_path / "locks").write_text("no folder")
        cache = NodeCache.open(tmp_path / "cache", quota_bytes=300_000, reserve_bytes=0)
        yield CachingStore(
            MemoryStore("scratch"), cache, FetchLocks(tmp_path / "locks"), lambda: None
        )
        cache.close()


SIZES = {"empty": 0, "small": 1000, "edge": MIB, "large": 5 * MIB + 7}


def _filled() -> MemoryStore:
    inner = MemoryStore("images", piece_bytes=300_001)
    for name, size in SIZES.items():
        inner.write(name, bytes(range(251)) * (size // 251 + 1) if size else b"")
    return inner


@pytest.mark.parametrize("name", SIZES)
def test_the_second_reader_asks_the_store_for_no_bytes(
    cache: NodeCache, locks: FetchLocks, name: str
) -> None:
    """What one has read another reads from the cache: no second request, and it is counted."""
    inner = FaultyStore(_filled())
    first, second = (CachingStore(inner, cache, locks, lambda: None) for _ in range(2))

    got = [content(store, name) for store in (first, second)]

    size = len(got[0])
    assert got[0] == got[1] == content(inner.inner, name)
    assert inner.count("read") == (1 if size else 2)
    counters = second.counters()
    hits = (counters["cache_hits"], counters["cache_bytes"], counters["requests"])
    assert hits == ((1, size, 0) if size else (0, 0, 1))


def test_a_listing_saves_the_question(cache: NodeCache, locks: FetchLocks) -> None:
    """An object that was listed is read with one request, and a cached one with none."""
    inner = FaultyStore(_filled())
    store = CachingStore(inner, cache, locks, lambda: None)
    listed = keys(store.list())

    for _ in range(2):
        for key in listed:
            content(store, key)

    assert inner.count("stat") == 0
    # The empty one is never worth a place in the cache.
    assert inner.count("read") == len(SIZES) + 1


def test_ranges_of_a_large_object_are_fetched_once(cache: NodeCache, locks: FetchLocks) -> None:
    """Ranges read in any order by many threads are the object, and no byte is fetched twice."""
    inner = FaultyStore(_filled())
    stores = [CachingStore(inner, cache, locks, lambda: None) for _ in range(4)]
    whole = content(inner.inner, "large")
    wrong: list[object] = []

    def read(store: CachingStore) -> None:
        try:
            for start in range(0, len(whole), MIB):
                got = content(store, "large", start=start, length=MIB)
                wrong.extend([start] if got != whole[start : start + MIB] else [])
        except Exception as error:  # noqa: BLE001  # shown by the assertion
            wrong.append(error)

    threads = [threading.Thread(target=read, args=[store]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []
    assert sum(int(store.counters()["bytes_fetched"]) for store in stores) == len(whole)


def test_of_many_who_want_it_one_fetches(cache: NodeCache, locks: FetchLocks) -> None:
    """While one fetches, the others wait for it, and then have it without a request."""
    begun, go = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        reads = 0

        def read(self, key: str, **options: object) -> object:  # type: ignore[override]  # passed on
            self.reads += 1
            begun.set()
            assert go.wait(60)
            return super().read(key, **options)  # type: ignore[arg-type]  # likewise

    inner = Slow("images")
    inner.write("a", b"alpha")
    got: list[bytes] = []

    def read() -> None:
        store = CachingStore(inner, cache, locks, lambda: None)  # type: ignore[arg-type]  # a Store
        got.append(content(store, "a"))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    go.set()
    for thread in threads:
        thread.join(60)

    assert (got, inner.reads) == ([b"alpha"] * 8, 1)


def test_a_stopped_fetcher_is_not_waited_for_without_end(cache: NodeCache, tmp_path: Path) -> None:
    """Who sits on a lock for too long costs the bound, and then the thing is fetched all the same."""
    inner = _filled()
    locks = FetchLocks(tmp_path / "locks", most_seconds=0.2)
    store = CachingStore(inner, cache, locks, lambda: None)

    with locks.alone(f"{inner.identity}\0small", lambda: None) as is_alone:
        got = content(store, "small")

    assert (is_alone, got) == (True, content(inner, "small"))
    assert 0.2 <= store.counters()["waited_seconds"] < 60


def test_the_wait_for_a_fetcher_can_be_called_off(cache: NodeCache, locks: FetchLocks) -> None:
    """A check that raises ends the wait for another's fetch."""
    inner = _filled()

    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    store = CachingStore(inner, cache, locks, check)

    with locks.alone(f"{inner.identity}\0small", lambda: None), pytest.raises(Enough):
        content(store, "small")


def test_a_changed_object_is_read_as_it_is_now(cache: NodeCache, locks: FetchLocks) -> None:
    """An object changed after the listing is read in its new version, or refused by the old one."""
    inner = _filled()
    store = CachingStore(inner, cache, locks, lambda: None)
    versions = {info.key: info.version for page in store.list() for info in page.objects}
    for name in ("small", "large"):
        inner.write(name, b"new")

    assert [content(store, name) for name in ("small", "large")] == [b"new", b"new"]
    for name in ("small", "large"):
        with pytest.raises(PreconditionFailed):
            content(store, name, version=versions[name])


def test_what_vanished_is_not_found(cache: NodeCache, locks: FetchLocks) -> None:
    """An object that is gone is reported as such, although its bytes may still be cached."""
    inner = _filled()
    store = CachingStore(inner, cache, locks, lambda: None)
    content(store, "small")
    store.delete("small")

    with pytest.raises(NotFound):
        content(store, "small")


def test_a_file_that_is_damaged_on_the_disk_is_fetched_again(
    cache: NodeCache, locks: FetchLocks, tmp_path: Path
) -> None:
    """Blocks of a half-cached object that rot are read from the store, and the bytes are right."""
    inner = _filled()
    whole = content(inner, "large")
    store = CachingStore(inner, cache, locks, lambda: None)
    content(store, "large", start=0, length=2 * MIB)
    for path in (tmp_path / "cache/v1/partial").rglob("*"):
        if path.is_file() and path.suffix != ".map":
            with path.open("r+b") as file:
                file.seek(MIB)
                file.write(b"rot" * 1000)
    again = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)

    got = content(CachingStore(inner, again, locks, lambda: None), "large")

    again.close()
    assert got == whole


def test_a_broken_fetch_leaves_nothing_wrong(cache: NodeCache, locks: FetchLocks) -> None:
    """A fetch that breaks raises, and the next reader gets every byte."""
    inner = _filled()
    broken = FaultyStore(inner).plan("read", Fault(break_at=2 * MIB, break_error=OSError("gone")))

    with pytest.raises(OSError, match="gone"):
        content(CachingStore(broken, cache, locks, lambda: None), "large")

    store = CachingStore(inner, cache, locks, lambda: None)
    assert content(store, "large") == content(inner, "large")
