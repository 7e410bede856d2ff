"""Versions that are open: small ones are here whole, large ones come by ranges."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from datastores.errors import Unavailable
from datastores.storage.contract import ObjectInfo, Store
from mount.cache.contract import Cache, CachedFile, CacheKey, NoRoom
from mount.fs.contract import WouldWait
from mount.fs.counters import Counters
from mount.fs.facts import Fact
from mount.fs.fetch import fetch_range, fetch_whole
from mount.fs.reading import LONGEST_WAIT_SECONDS, Pacer, RangeReader
from mount.fs.view import MountView

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger(__name__)


class Content:
    """One version of one object, shared by everybody who has it open.

    `key` follows a rename; the other facts never change. `cached`, `memory` and `reader` are set
    once before the content is handed out, and `cached` once more when a large file is complete.
    """

    __slots__ = ("cached", "key", "memory", "reader", "ready", "size", "users", "version")

    def __init__(self, key: str, version: str | None, size: int) -> None:
        self.key = key
        self.version = version
        self.size = size
        self.cached: CachedFile | None = None
        self.memory: bytes | None = None
        self.reader: RangeReader | None = None
        # Under the shelf's lock.
        self.users = 0
        self.ready = False

    @property
    def fd(self) -> int | None:
        """A local file with exactly these bytes."""
        return self.cached.fd if self.cached else None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A version that is wanted."""

    key: str
    version: str | None


class Contents:
    """The versions that are open, each fetched once however many want it."""

    def __init__(
        self, store: Store, cache: Cache, view: MountView, crew: Executor, counters: Counters
    ) -> None:
        self._store = store
        self._cache = cache
        self._view = view
        self._crew = crew
        self._counters = counters
        self._arrived = threading.Condition()
        # Under the condition's lock, which is taken last of all.
        self._open: dict[Ticket, Content] = {}
        self._coming: set[Ticket] = set()

    def __len__(self) -> int:
        with self._arrived:
            return len(self._open)

    def here(self, key: str, fact: Fact) -> Content | None:
        """The version, if opening it needs no request; the caller lets go of it."""
        shared = self._share(Ticket(key, fact.version))
        if shared:
            return shared
        if fact.size == 0:
            content = Content(key, fact.version, 0)
            content.memory = b""
            return self._shelve(content)
        if fact.version is None:
            return None
        cached = self._cache.find(self._cache_key(key, fact.version, fact.size))
        if cached is None:
            return None
        self._counters.add("cache_hits")
        content = Content(key, fact.version, fact.size)
        content.cached = cached
        return self._shelve(content)

    def open(self, key: str, fact: Fact) -> tuple[Content, ObjectInfo | None]:
        """The version, or a newer one that was found instead, with what the store says of it."""
        ticket = Ticket(key, fact.version)
        while True:
            found = self.here(key, fact)
            if found:
                return found, None
            if self._begin(ticket):
                break
        try:
            return self._fetch(key, fact)
        finally:
            with self._arrived:
                self._coming.discard(ticket)
                self._arrived.notify_all()

    def moved(self, content: Content, key: str) -> None:
        """The same bytes are under another name now."""
        with self._arrived:
            if self._open.get(Ticket(content.key, content.version)) is content:
                del self._open[Ticket(content.key, content.version)]
                self._open.setdefault(Ticket(key, content.version), content)
            content.key = key

    def keep(self, content: Content) -> Content:
        """One more user."""
        with self._arrived:
            content.users += 1
        return content

    def let_go(self, content: Content) -> None:
        with self._arrived:
            content.users -= 1
            if content.users:
                return
            ticket = Ticket(content.key, content.version)
            if self._open.get(ticket) is content:
                del self._open[ticket]
        if content.reader:
            content.reader.close()
        if content.cached:
            content.cached.close()
        if content.memory:
            self._counters.add("memory_bytes", -len(content.memory))

    def adopt(self, key: str, version: str, size: int, path: str) -> None:
        """A stored file that nobody writes to any more is in the cache, too, if there is room."""
        try:
            self._cache.adopt(self._cache_key(key, version, size), path, given=True).close()
        except NoRoom:
            self._counters.add("without_cache")

    def read(self, content: Content, start: int, end: int, pacer: Pacer) -> Buffer:
        """The bytes of a range; `start` < `end` <= size."""
        if content.cached:
            return self._read_cached(content, content.cached, start, end)
        if content.memory is not None:
            return memoryview(content.memory)[start:end]
        assert content.reader
        with self._counters.blocked():
            data = content.reader.read(start, end, pacer)
        self._take_finished(content)
        return data

    def hold(self, content: Content) -> None:
        """Bring all of a version here before its object goes, if it can be kept."""
        if content.reader is None or content.cached or content.size > self._view.keep_bytes:
            return
        for start in range(0, content.size, self._view.part_bytes):
            end = min(start + self._view.part_bytes, content.size)
            content.reader.read(start, end, Pacer())
        self._take_finished(content)

    def read_at_once(self, content: Content, start: int, end: int, pacer: Pacer) -> Buffer:
        """The bytes if no wait is needed; `WouldWait` otherwise."""
        if content.memory is not None:
            return memoryview(content.memory)[start:end]
        if content.cached:
            return _pread_at_once(content.cached.fd, start, end)
        found = content.reader.at_once(start, end, pacer) if content.reader else None
        if found is None:
            raise WouldWait
        return found

    def read_exactly(self, content: Content, start: int, end: int) -> bytes:
        """The bytes of a range without read-ahead."""
        if content.cached:
            return self._read_cached(content, content.cached, start, end)
        if content.memory is not None:
            return content.memory[start:end]
        return fetch_range(self._store, content, start, end, self._counters)

    def _read_cached(self, content: Content, cached: CachedFile, start: int, end: int) -> bytes:
        """The bytes from the disk; from the store when the disk lost them."""
        try:
            data = _pread(cached.fd, start, end)
        except OSError as error:
            log.warning("cached file of %s cannot be read: %s", content.key, error)
            data = b""
        if len(data) == end - start:
            return data
        self._counters.add("broken_cached")
        if content.version is not None:
            self._cache.forget(self._cache_key(content.key, content.version, content.size))
        return fetch_range(self._store, content, start, end, self._counters)

    def _share(self, ticket: Ticket) -> Content | None:
        with self._arrived:
            content = self._open.get(ticket)
            if content:
                content.users += 1
        if content:
            self._take_finished(content)
        return content

    def _take_finished(self, content: Content) -> None:
        if content.reader and not content.cached:
            complete = content.reader.finished()
            if complete:
                content.cached = complete

    def _begin(self, ticket: Ticket) -> bool:
        """Whether it is for this thread to fetch; False after somebody else did."""
        with self._arrived:
            if ticket not in self._coming:
                self._coming.add(ticket)
                return True
            gone = self._arrived.wait_for(lambda: ticket not in self._coming, LONGEST_WAIT_SECONDS)
        if not gone:
            raise Unavailable(self._store.label, ticket.key, "it does not arrive; open it again")
        return False

    def _fetch(self, key: str, fact: Fact) -> tuple[Content, ObjectInfo | None]:
        self._counters.add("cache_misses")
        if fact.size <= self._view.small_file_bytes:
            return self._fetch_small(key, fact)
        info = None
        version = fact.version
        if version is None:
            self._counters.add("requests")
            info = self._store.stat(key)
            version, size = info.version, info.size
        else:
            size = fact.size
        return self._by_ranges(Content(key, version, size)), info

    def _fetch_small(self, key: str, fact: Fact) -> tuple[Content, ObjectInfo]:
        known = fact if self._view.check_md5 else replace(fact, md5=None)
        with self._counters.blocked():
            info, data = fetch_whole(
                self._store, key, known, self._view.small_file_bytes, self._counters
            )
        content = Content(key, info.version, info.size)
        if data is None:  # another version, which is large
            return self._by_ranges(content), info
        try:
            content.cached = self._put(key, info, data)
        except NoRoom:
            self._counters.add("without_cache")
            if self._counters.get("memory_bytes") + len(data) > self._view.memory_bytes:
                return self._by_ranges(content, uncached=True), info
            content.memory = data
            self._counters.add("memory_bytes", len(data))
        return self._shelve(content), info

    def _put(self, key: str, info: ObjectInfo, data: bytes) -> CachedFile:
        if info.version is None:  # nothing to know it by
            raise NoRoom
        return self._cache.put(self._cache_key(key, info.version, len(data)), data)

    def _by_ranges(self, content: Content, *, uncached: bool = False) -> Content:
        partial = None
        try:
            if content.version is not None and not uncached:
                partial = self._cache.fill(
                    self._cache_key(content.key, content.version, content.size)
                )
        except NoRoom:
            self._counters.add("without_cache")
        content.cached = partial.finish() if partial else None
        content.reader = RangeReader(
            self._store, content, partial, self._view, self._crew, self._counters
        )
        return self._shelve(content)

    def _shelve(self, content: Content) -> Content:
        """Share the content; another one that was quicker wins."""
        ticket = Ticket(content.key, content.version)
        with self._arrived:
            winner = self._open.setdefault(ticket, content)
            winner.users += 1
            if winner is not content:
                content.users += 1
        if winner is not content:
            self.let_go(content)
        return winner

    def _cache_key(self, key: str, version: str, size: int) -> CacheKey:
        return CacheKey(self._store.identity, key, version, size)


def _pread(fd: int, start: int, end: int) -> bytes:
    """The bytes of a range, fewer if the file was cut."""
    data = os.pread(fd, end - start, start)
    while len(data) < end - start:
        more = os.pread(fd, end - start - len(data), start + len(data))
        if not more:
            break
        data += more
    return data


def _pread_at_once(fd: int, start: int, end: int) -> Buffer:
    """Bytes that the machine has in memory; never waits for the disk."""
    data = bytearray(end - start)
    try:
        done = os.preadv(fd, [data], start, os.RWF_NOWAIT)
    except (BlockingIOError, OSError):
        raise WouldWait from None
    if done < end - start:
        raise WouldWait
    return data
