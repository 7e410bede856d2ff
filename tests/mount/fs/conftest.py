"""A mount of a store, driven by a kernel in miniature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from datastores.storage.contract import Store
from datastores.storage.memory import MemoryStore
from mount.cache.contract import Cache, CachedFile, CacheKey, NoRoom, PartialFile
from mount.cache.node_cache import NodeCache
from mount.fs.contract import FileSystem
from mount.fs.file_system import StoreFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from tests.contracts.faulty_store import FaultyStore
from tests.mount.fs.kernel import KernelInMiniature

QUOTA_BYTES = 1 << 30


class FullCache:
    """A cache on a full disk: everything that needs room is refused."""

    def __init__(self, inner: Cache) -> None:
        self._inner = inner

    def find(self, key: CacheKey) -> CachedFile | None:
        return None

    def fill(self, key: CacheKey) -> PartialFile:
        raise NoRoom

    def put(self, key: CacheKey, data: object) -> CachedFile:
        raise NoRoom

    def adopt(self, key: CacheKey, path: str, *, given: bool = False) -> CachedFile:
        raise NoRoom

    def forget(self, key: CacheKey) -> None:
        """Nothing is here."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


@dataclass(slots=True)
class Mounted:
    """One mount and what is behind it."""

    kernel: KernelInMiniature
    fs: StoreFileSystem
    store: FaultyStore
    spool: Spool

    def requests(self) -> int:
        return len(self.store.calls)

    def check(self) -> None:
        """Nothing is left behind once everything is closed and forgotten."""
        self.kernel.forget_all()
        counts = self.fs.counters()
        gauges = (counts.open_files, counts.open_folders, counts.lookups, counts.drafts)
        assert gauges == (0, 0, 0, 0)
        assert (counts.dirty_bytes, counts.memory_bytes) == (0, 0)
        assert list(self.spool.folder.iterdir()) == []
        assert len(self.fs._contents) == 0


MountIt = Callable[..., Mounted]


@pytest.fixture
def mount_it(tmp_path: Path) -> Iterator[MountIt]:
    """Makes mounts of a store; each is checked for leftovers at the end unless told otherwise."""
    made: list[tuple[Mounted, bool]] = []
    cache = NodeCache.open(tmp_path / "cache", quota_bytes=QUOTA_BYTES, reserve_bytes=0)

    def mount(
        store: Store | None = None,
        *,
        full_cache: bool = False,
        leaves_spool: bool = False,
        **view: object,
    ) -> Mounted:
        faulty = store if isinstance(store, FaultyStore) else FaultyStore(store or MemoryStore())
        spool = Spool.open(tmp_path / f"spool{len(made)}")
        kept: Cache = FullCache(cache) if full_cache else cache  # type: ignore[assignment]  # the rest is forwarded
        fs = StoreFileSystem(faulty, kept, MountView(**view), spool)  # type: ignore[arg-type]  # settings by name
        filesystem: FileSystem = fs
        kernel = KernelInMiniature(filesystem)
        filesystem.start(kernel)
        mounted = Mounted(kernel, fs, faulty, spool)
        made.append((mounted, leaves_spool))
        return mounted

    yield mount
    for mounted, leaves_spool in made:
        try:
            if not leaves_spool:
                mounted.check()
        finally:
            mounted.fs.stop()
    cache.close()


@pytest.fixture
def mounted(mount_it: MountIt) -> Mounted:
    """A mount of an empty store in memory."""
    return mount_it()


def put(mounted: Mounted, key: str, body: bytes) -> None:
    """What another client does: straight into the store."""
    mounted.store.inner.write(key, body)


def stored(mounted: Mounted, key: str) -> bytes:
    """What any client would read from the store now."""
    with mounted.store.inner.read(key) as stream:
        return b"".join(memoryview(piece) for piece in stream)
