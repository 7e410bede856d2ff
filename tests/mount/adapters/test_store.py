"""A store, mounted: what programs leave in it and what they never do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from datastores.errors import NotFound
from datastores.storage.memory import MemoryStore
from mount.cache.node_cache import NodeCache
from mount.fs.file_system import StoreFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from tests.contracts.faulty_store import FaultyStore
from tests.mount.adapters.mounting import Adapter, mounted_at, names

QUOTA_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class MountedStore:
    """A mounted store, and what it was asked."""

    path: Path
    store: FaultyStore
    files: StoreFileSystem

    def stored(self, key: str) -> bytes:
        """What any client would read from the store now."""
        with self.store.inner.read(key) as stream:
            return b"".join(memoryview(piece) for piece in stream)

    def asked_for(self, part: str) -> list[str]:
        """Every request whose arguments mention a text."""
        return [repr(call) for call in self.store.calls if part in repr(call)]


@pytest.fixture(name="mounted_store")
def fixture_mounted_store(adapter: Adapter, tmp_path: Path) -> Iterator[MountedStore]:
    """An empty store in memory with a cache and a spool on disk, mounted."""
    store = FaultyStore(MemoryStore())
    cache = NodeCache.open(tmp_path / "cache", quota_bytes=QUOTA_BYTES, reserve_bytes=0)
    view = MountView(owner=os.getuid(), group=os.getgid())
    files = StoreFileSystem(store, cache, view, Spool.open(tmp_path / "spool"))
    place = tmp_path / "place"
    place.mkdir()
    with mounted_at(adapter, files, place):
        yield MountedStore(place, store, files)
    counts = files.counters()
    cache.close()
    assert (counts.open_files, counts.open_folders, counts.drafts) == (0, 0, 0)


def test_what_is_written_is_in_the_store_and_read_back(mounted_store: MountedStore) -> None:
    """A closed file is an object under its path, and another open reads the same bytes."""
    data = os.urandom(3_000_000)

    (mounted_store.path / "a" / "b").mkdir(parents=True)
    (mounted_store.path / "a" / "b" / "f").write_bytes(data)

    assert mounted_store.stored("a/b/f") == data
    assert (mounted_store.path / "a" / "b" / "f").read_bytes() == data


def test_a_large_file_is_read_twice_from_one_copy(mounted_store: MountedStore) -> None:
    """The second reading of a file of forty MiB asks the store for no byte."""
    data = os.urandom(40 << 20)
    mounted_store.store.inner.write("big", data)

    assert (mounted_store.path / "big").read_bytes() == data
    before = len(mounted_store.store.calls)
    assert (mounted_store.path / "big").read_bytes() == data

    assert len(mounted_store.store.calls) == before


def test_a_removed_file_is_gone_from_the_store_and_still_read(mounted_store: MountedStore) -> None:
    """An open file that is removed leaves the store at once, under no other name either."""
    mounted_store.store.inner.write("folder/f", b"still here")

    with (mounted_store.path / "folder" / "f").open("rb", buffering=0) as file:
        (mounted_store.path / "folder" / "f").unlink()

        with pytest.raises(NotFound):
            mounted_store.store.inner.stat("folder/f")
        assert names(mounted_store.path / "folder") == []
        assert file.read() == b"still here"
        assert os.fstat(file.fileno()).st_size == 10
    assert mounted_store.asked_for(".fuse_hidden") == []


def test_a_file_that_is_replaced_while_it_is_read_keeps_its_bytes(
    mounted_store: MountedStore,
) -> None:
    """A rename over an open file: the reader goes on, a new open reads the new bytes."""
    mounted_store.store.inner.write("f", b"old bytes")
    mounted_store.store.inner.write("g", b"newer bytes")

    with (mounted_store.path / "f").open("rb", buffering=0) as reader:
        (mounted_store.path / "g").rename(mounted_store.path / "f")

        assert reader.read() == b"old bytes"
        assert (mounted_store.path / "f").read_bytes() == b"newer bytes"
    assert names(mounted_store.path) == ["f"]
    assert mounted_store.stored("f") == b"newer bytes"
    assert mounted_store.asked_for(".fuse_hidden") == []


def test_an_open_file_is_truncated_and_extended(mounted_store: MountedStore) -> None:
    """ftruncate through a descriptor and truncate by path leave in the store what they should."""
    path = mounted_store.path / "f"
    with path.open("w+b") as file:
        file.write(b"0123456789")
        file.flush()
        os.ftruncate(file.fileno(), 4)
        assert os.fstat(file.fileno()).st_size == 4
    os.truncate(path, 6)

    assert (path.read_bytes(), mounted_store.stored("f")) == (b"0123\0\0", b"0123\0\0")
