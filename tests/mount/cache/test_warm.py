"""Fetching ahead: what, in which order, behind whom, and when it stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores.errors import Unavailable
from datastores.storage.memory import MemoryStore, MemoryStream
from mount.cache.contract import CacheKey
from mount.cache.gate import ForegroundGate
from mount.cache.layout import SMALLEST_BLOCK_BYTES, charge
from mount.cache.node_cache import NodeCache
from mount.cache.warm import Ending, WarmProgress, warm
from tests.mount.cache.content import whole

LARGE_BYTES = 20 * 1024 * 1024 + 5


class WatchedStore(MemoryStore):
    """Notes which keys are read, in order, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, int]] = []
        self.is_down = False

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> MemoryStream:
        self.reads.append((key, start))
        if self.is_down:
            raise Unavailable(self.label, key, "try again later")
        return super().read(key, start=start, length=length, version=version)

    @property
    def order(self) -> list[str]:
        return [key for key, start in self.reads if not start]


@pytest.fixture
def store() -> WatchedStore:
    store = WatchedStore()
    for number in range(10):
        store.write(f"train/{number}.jpg", b"%d" % number * 1000)
    store.write("train/labels.csv", b"labels")
    store.write("test/0.jpg", b"test")
    return store


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[NodeCache]:
    cache = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    yield cache
    cache.close()


def cached(cache: NodeCache, store: MemoryStore) -> dict[str, bytes]:
    """Everything of the store that the cache has."""
    there = {}
    for page in store.list():
        for info in page.objects:
            key = CacheKey(store.identity, info.key, info.version or "", info.size)
            if held := cache.find(key):
                there[info.key] = whole(held)
    return there


def test_a_prefix_is_brought_in_the_order_of_the_listing(
    cache: NodeCache, store: WatchedStore
) -> None:
    """Everything below a prefix is there afterwards, byte for byte, and nothing else."""
    done = warm(cache, store, ["train/"], workers=1)

    want = {f"train/{number}.jpg": b"%d" % number * 1000 for number in range(10)}
    assert cached(cache, store) == {**want, "train/labels.csv": b"labels"}
    assert store.order == sorted(cached(cache, store))
    assert done == WarmProgress(fetched=11, fetched_bytes=10_006, ending=Ending.DONE)


def test_a_glob_filters(cache: NodeCache, store: WatchedStore) -> None:
    """Only what matches is fetched."""
    warm(cache, store, ["train/[2-4].jpg", "*.csv"], workers=1)

    assert store.order == ["train/2.jpg", "train/3.jpg", "train/4.jpg", "train/labels.csv"]


def test_the_samplers_permutation_is_the_order(cache: NodeCache, store: WatchedStore) -> None:
    """Objects come in the order of a permutation of the sorted keys."""
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]

    warm(cache, store, ["train/*.jpg"], order=order, workers=1)

    assert store.order == [f"train/{number}.jpg" for number in order]


def test_an_explicit_sequence_is_the_order(cache: NodeCache, store: WatchedStore) -> None:
    """Keys are fetched as they stand in the list; one that does not exist is named and left out."""
    done = warm(cache, store, ["train/7.jpg", "train/none", "test/0.jpg"], workers=1)

    assert store.order == ["train/7.jpg", "test/0.jpg"]
    assert (done.fetched, done.failed, done.ending) == (2, 1, Ending.DONE)
    assert [key for key, _ in done.failures] == ["train/none"]


def test_what_is_there_is_skipped(cache: NodeCache, store: WatchedStore) -> None:
    """A second warming fetches what changed and nothing else."""
    warm(cache, store, ["train/"])
    store.reads.clear()
    store.write("train/5.jpg", b"new")

    done = warm(cache, store, ["train/"])

    assert store.order == ["train/5.jpg"]
    assert (done.fetched, done.already_there) == (1, 10)
    assert cached(cache, store)["train/5.jpg"] == b"new"


def test_a_large_object_goes_on_where_it_was(cache: NodeCache, store: WatchedStore) -> None:
    """Blocks that somebody fetched before are not fetched again."""
    body = bytes(range(251)) * (LARGE_BYTES // 251) + b"x" * (LARGE_BYTES % 251)
    info = store.write("large", body)
    key = CacheKey(store.identity, "large", info.version or "", info.size)
    begun = cache.fill(key)
    done_blocks = 16 * 1024 * 1024 // SMALLEST_BLOCK_BYTES * SMALLEST_BLOCK_BYTES
    begun.write(0, body[:done_blocks])
    begun.close()

    done = warm(cache, store, ["large"])

    assert store.reads == [("large", done_blocks)]
    assert cached(cache, store)["large"] == body
    assert done.ending is Ending.DONE


def test_readers_go_first(cache: NodeCache, store: WatchedStore) -> None:
    """While a reader waits for the store nothing is fetched; when it has its bytes it goes on."""
    gate = ForegroundGate()
    results: list[WarmProgress] = []
    with gate.foreground():
        warming = threading.Thread(
            target=lambda: results.append(warm(cache, store, ["train/"], priority_gate=gate))
        )
        warming.start()
        warming.join(0.3)
        while_reading = list(store.reads)
    warming.join(30)

    assert while_reading == []
    assert results[0].fetched == 11


def test_it_stops_when_told(cache: NodeCache, store: WatchedStore) -> None:
    """A warming that is stopped ends after what is under way, and the next one finishes it."""
    stop = threading.Event()

    first = warm(cache, store, ["train/"], stop=stop, workers=1, progress=lambda _: stop.set())
    second = warm(cache, store, ["train/"])

    assert first.ending is Ending.STOPPED
    assert first.fetched + second.fetched == 11
    assert first.fetched < 11


def test_it_does_not_push_out_what_it_brought(tmp_path: Path, store: WatchedStore) -> None:
    """When the cache is full of this warming's own files it stops instead of going in circles."""
    small = NodeCache.open(tmp_path / "small", quota_bytes=5 * charge(1000), reserve_bytes=0)

    done = warm(small, store, ["train/"], workers=1)

    assert done.ending is Ending.FULL
    assert list(cached(small, store)) == [f"train/{number}.jpg" for number in range(4)]
    assert small.status().evictions == 0
    small.close()


def test_a_dead_store_ends_it(cache: NodeCache, store: WatchedStore) -> None:
    """A store that fails again and again is given up, with the causes named."""
    for number in range(100):
        store.write(f"more/{number:03}", b"x")
    store.is_down = True

    done = warm(cache, store, ["more/"])

    assert done.ending is Ending.STORE_FAILS
    assert done.fetched == 0
    assert 20 <= done.failed < 100
    assert done.failures[0][0] in {f"more/{number:03}" for number in range(100)}


def test_progress_is_told(cache: NodeCache, store: WatchedStore) -> None:
    """Every object is reported, with counts that only grow and an end that is named."""
    steps: list[WarmProgress] = []

    warm(cache, store, ["train/"], workers=1, progress=steps.append)

    assert [step.fetched for step in steps] == sorted(step.fetched for step in steps)
    assert [step.ending for step in steps[:-1]] == [None] * 11
    assert steps[-1].ending is Ending.DONE


def test_an_empty_object_is_warmed(cache: NodeCache, store: WatchedStore) -> None:
    """Nothing to fetch is also complete."""
    store.write("empty", b"")

    done = warm(cache, store, ["empty"])

    assert (done.fetched, cached(cache, store)["empty"]) == (1, b"")
