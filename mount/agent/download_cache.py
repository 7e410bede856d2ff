"""The node's cache as the downloads of one agent use it: opened once, and never in their way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from datastores.definitions import Dbfs, Definition, LocalFolder
from datastores.storage.contract import Store
from mount.agent.caching_store import CachingStore
from mount.agent.fetch_locks import FetchLocks
from mount.agent.node_cache import open_node_cache
from mount.cache import NodeCache
from mount.errors import CacheBroken

log = logging.getLogger(__name__)


class DownloadCache:
    """Made for a folder, opened when the first download wants it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        # All under the lock.
        self._cache: NodeCache | None = None
        self._is_broken = False

    def serves(self, definition: Definition) -> bool:
        """Whether a copy in the cache is worth anything: not of what is on this machine anyway."""
        return not isinstance(definition, LocalFolder | Dbfs) and self._opened() is not None

    def store(self, store: Store, check: Callable[[], None]) -> CachingStore:
        """The store with its reads through the cache."""
        cache = self._opened()
        assert cache is not None, "ask `serves` first"
        return CachingStore(store, cache, FetchLocks(self._folder / "fetching"), check)

    def give_way(self) -> bool:
        """Drop what nobody uses, for a disk that is full; whether that made room."""
        cache = self._opened()
        if cache is None:
            return False
        freed = cache.clear()
        log.warning("the disk is full: the cache gave %d bytes back", freed)
        return freed > 0

    def close(self) -> None:
        with self._lock:
            cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()

    def _opened(self) -> NodeCache | None:
        with self._lock:
            if self._cache is None and not self._is_broken:
                try:
                    self._cache = open_node_cache(self._folder)
                except (CacheBroken, OSError) as error:
                    self._is_broken = True
                    log.warning("downloads go without the cache: %s", error)
            return self._cache
