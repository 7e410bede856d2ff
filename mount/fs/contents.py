"""Versions that are open: small ones are here whole, large ones come by ranges.

Those that the cache has stay open for a while after the last close. A warm open is then a look
into two dictionaries and an fstat, instead of open, flock, fstat, two ioctls and two closes: open
and release took 50 us of processor time together, and take 13; with notes for a later process 82
and 33.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING

from datastores.errors import Unavailable
from datastores.storage.contract import ObjectInfo, Store
from mount.cache.contract import Cache, CachedFile, CacheKey, NoRoom
from mount.fs.contract import Backing, Errand, WouldWait
from mount.fs.counters import Counters
from mount.fs.facts import Fact
from mount.fs.fetch import LONGEST_WAIT_SECONDS, fetch_range, fetch_whole
from mount.fs.fetchers import Asked, Fetchers
from mount.fs.kept import IDLE_SECONDS, Kept, bounds
from mount.fs.reading import Pacer, RangeReader
from mount.fs.view import MountView

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from mount.fs.versions_opened import VersionsOpened

log = logging.getLogger(__name__)

# Key and version. A plain tuple: a dataclass is hashed and compared in 1.5 us, this in 0.1.
Ticket = tuple[str, "str | None"]


class Content:
    """One version of one object, shared by everybody who has it open.

    `key` follows a rename; the other facts never change. `cached`, `memory` and `reader` are set
    once before the content is handed out, and `cached` once more when a large file is complete.
    """

    __slots__ = (
        "backing",
        "cached",
        "is_broken",
        "key",
        "memory",
        "noted",
        "reader",
        "since",
        "size",
        "stamp",
        "users",
        "version",
    )

    def __init__(self, key: str, version: str | None, size: int) -> None:
        self.key = key
        self.version = version
        self.size = size
        self.cached: CachedFile | None = None
        self.memory: bytes | None = None
        self.reader: RangeReader | None = None
        # What an adapter has registered of the cached file.
        self.backing = Backing()
        # The cached file could not be read to its end.
        self.is_broken = False
        self.since = time.monotonic()
        # Of the cached file when it was found: somebody may meddle with it later.
        self.stamp: tuple[int, int] | None = None
        # Whoever has noted that it was opened; under the file system's lock.
        self.noted: VersionsOpened | None = None
        # Under the shelf's lock.
        self.users = 0

    @property
    def fd(self) -> int | None:
        """A local file with exactly these bytes."""
        return self.cached.fd if self.cached else None


class Contents:
    """The versions that are open, each fetched once however many want it.

    What is kept beyond the last close is let go of when it has been idle for some seconds, and
    before anything comes into the cache, which may need the room: at once if it is much, else as
    soon as there is none.
    """

    def __init__(
        self, store: Store, cache: Cache, view: MountView, crew: Executor, counters: Counters
    ) -> None:
        self._store = store
        self._cache = cache
        self._view = view
        self._crew = crew
        self._counters = counters
        self._fetchers = Fetchers(store, cache, view.small_file_bytes, counters)
        # Taken by itself where nobody is to be woken: a condition takes 0.2 us more.
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        # Under this lock, which is taken last of all; what is kept is among the open.
        self._open: dict[Ticket, Content] = {}
        self._coming: set[Ticket] = set()
        self._kept = Kept(*bounds(getattr(cache, "quota_bytes", None)))
        self._sweeper: threading.Thread | None = None
        self.kept_hits = 0
        self._is_over = threading.Event()

    def __len__(self) -> int:
        """How many somebody has open."""
        with self._lock:
            return len(self._open) - len(self._kept)

    @property
    def kept(self) -> int:
        """How many stay open although nobody has them open."""
        with self._lock:
            return len(self._kept)

    def shared(self, key: str, fact: Fact) -> Content | None:
        """The version if it is open or kept and all of it is here; the caller lets go of it."""
        with self._lock:
            content = self._open.get((key, fact.version))
            if content is None or (content.cached is None and content.memory is None):
                return None
            return self._take(content)

    def here(self, key: str, fact: Fact) -> Content | None:
        """The version, if opening it needs no request; the caller lets go of it."""
        shared = self._share((key, fact.version))
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
        ticket = key, fact.version
        while True:
            found = self.here(key, fact)
            if found:
                return found, None
            if self._begin(ticket):
                break
        try:
            return self._fetch(key, fact)
        finally:
            self._landed(ticket)

    def errand(self, key: str, fact: Fact) -> Errand | None:
        """The version on its way to the cache by another process, if one can bring it now."""
        if fact.version is None or not 0 < fact.size <= self._view.small_file_bytes:
            return None
        ticket = key, fact.version
        with self._arrived:
            # It may have come since somebody looked.
            if ticket in self._coming or ticket in self._open:
                return None
            self._coming.add(ticket)
        asked = self._fetchers.begin(
            self._cache_key(key, fact.version, fact.size), self._checked(fact)
        )
        if asked is None:
            self._landed(ticket)
            return None
        self._make_way()
        return _Errand(self, ticket, fact.size, asked)

    def arrived(self, ticket: Ticket, size: int, asked: Asked) -> None:
        """An errand is over; what it brought is kept for the one who opens it next."""
        try:
            cached = asked.answer()
            if cached is not None:
                self._counters.add("cache_misses")
                content = Content(*ticket, size)
                content.cached = cached
                self.let_go(self._shelve(content))
        finally:
            self._counters.add("blocked_seconds", time.monotonic() - asked.since)
            self._landed(ticket)

    def moved(self, content: Content, key: str) -> None:
        """The same bytes are under another name now."""
        with self._lock:
            if self._open.get((content.key, content.version)) is content:
                del self._open[content.key, content.version]
                self._open.setdefault((key, content.version), content)
            content.key = key

    def keep(self, content: Content) -> Content:
        """One more user."""
        with self._lock:
            content.users += 1
        return content

    def let_go(self, content: Content, uses: int = 1) -> None:
        if content.reader:
            self._take_finished(content)
        with self._lock:
            content.users -= uses
            if content.users:
                return
            ticket = content.key, content.version
            if self._open.get(ticket) is content:
                if self._kept.takes(content, time.monotonic()):
                    if self._sweeper is None:
                        self._start_sweeper()
                    return
                del self._open[ticket]
        self._close(content)

    def let_go_of_kept(self) -> None:
        """Close what nobody has open."""
        with self._lock:
            loose = self._off_the_shelf(self._kept.everything())
        for content in loose:
            self._close(content)

    def stop(self) -> None:
        """Keep nothing any more; what is open stays so until its users let go."""
        self._is_over.set()
        self._fetchers.close()
        with self._lock:
            self._kept.close()
        self.let_go_of_kept()

    def adopt(self, key: str, version: str, size: int, path: str) -> None:
        """A stored file that nobody writes to any more is in the cache, too, if there is room."""
        self._make_way()
        try:
            self._cache.adopt(self._cache_key(key, version, size), path, given=True).close()
        except NoRoom:
            self._note_no_room()

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
        content.is_broken = True
        if content.version is not None:
            self._cache.forget(self._cache_key(content.key, content.version, content.size))
        return fetch_range(self._store, content, start, end, self._counters)

    def _share(self, ticket: Ticket) -> Content | None:
        with self._lock:
            content = self._open.get(ticket)
            if content:
                content = self._take(content)
        if content and content.reader:
            self._take_finished(content)
        return content

    def _take(self, content: Content) -> Content | None:
        """One more user of what is open or kept; None if a kept file was meddled with; lock held."""
        if not content.users and self._kept.gives(content):
            if content.cached and _stamp(content.cached) != content.stamp:
                del self._open[content.key, content.version]
                self._close(content)
                return None
            self.kept_hits += 1
        content.users += 1
        return content

    def _make_way(self) -> None:
        """Something comes in; cheap where nothing is in the way."""
        with self._lock:
            loose = self._off_the_shelf(self._kept.in_the_way())
        for content in loose:
            self._close(content)

    def _off_the_shelf(self, contents: Sequence[Content]) -> Sequence[Content]:
        """Nobody finds these any more; lock held."""
        for content in contents:
            self._kept.gives(content)
            del self._open[content.key, content.version]
        return contents

    def _close(self, content: Content) -> None:
        if content.reader:
            content.reader.close()
        if content.backing.at_end:
            content.backing.at_end(content.backing)
        if content.cached:
            content.cached.close()
        if content.memory:
            self._counters.add("memory_bytes", -len(content.memory))

    def _start_sweeper(self) -> None:
        self._sweeper = threading.Thread(target=self._sweep, name="mount-kept", daemon=True)
        self._sweeper.start()

    def _sweep(self) -> None:
        """Close what is idle, until nothing is kept."""
        is_last = False
        while not is_last:
            self._is_over.wait(IDLE_SECONDS / 2)
            with self._lock:
                loose = self._off_the_shelf(self._kept.idle(time.monotonic()))
                is_last = not len(self._kept)
                if is_last:
                    self._sweeper = None
            for content in loose:
                self._close(content)

    def _take_finished(self, content: Content) -> None:
        if content.reader and not content.cached:
            complete = content.reader.finished()
            if complete:
                content.cached = complete
                content.backing.is_complete = True

    def _landed(self, ticket: Ticket) -> None:
        with self._arrived:
            self._coming.discard(ticket)
            self._arrived.notify_all()

    def _checked(self, fact: Fact) -> Fact:
        """What a body has to agree with."""
        return fact if self._view.check_md5 else replace(fact, md5=None)

    def _begin(self, ticket: Ticket) -> bool:
        """Whether it is for this thread to fetch; False after somebody else did."""
        with self._arrived:
            if ticket in self._open:
                return False  # it came since somebody looked
            if ticket not in self._coming:
                self._coming.add(ticket)
                return True
            gone = self._arrived.wait_for(lambda: ticket not in self._coming, LONGEST_WAIT_SECONDS)
        if not gone:
            raise Unavailable(self._store.label, ticket[0], "it does not arrive; open it again")
        return False

    def _fetch(self, key: str, fact: Fact) -> tuple[Content, ObjectInfo | None]:
        self._counters.add("cache_misses")
        self._make_way()
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

    def _fetch_small(self, key: str, fact: Fact) -> tuple[Content, ObjectInfo | None]:
        known = self._checked(fact)
        if known.version is not None and (brought := self._brought(key, known.version, known)):
            return brought, None
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
            self._note_no_room()
            if self._counters.get("memory_bytes") + len(data) > self._view.memory_bytes:
                return self._by_ranges(content, uncached=True), info
            content.memory = data
            self._counters.add("memory_bytes", len(data))
        return self._shelve(content), info

    def _brought(self, key: str, version: str, fact: Fact) -> Content | None:
        """The version as another process has put it into the cache; None if none did."""
        with self._counters.blocked():
            cached = self._fetchers.bring(self._cache_key(key, version, fact.size), fact)
        if cached is None:
            return None
        content = Content(key, version, fact.size)
        content.cached = cached
        return self._shelve(content)

    def _note_no_room(self) -> None:
        """Somebody reads without the cache; what is kept shall not be why the next one does."""
        self._counters.add("without_cache")
        self.let_go_of_kept()

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
            self._note_no_room()
        content.cached = partial.finish() if partial else None
        content.reader = RangeReader(
            self._store,
            content,
            partial,
            self._view,
            self._crew,
            self._counters,
            self._fetchers,
        )
        return self._shelve(content)

    def _shelve(self, content: Content) -> Content:
        """Share the content; another one that was quicker wins."""
        if content.cached:
            content.stamp = _stamp(content.cached)
        ticket = content.key, content.version
        with self._lock:
            winner = self._take(self._open.setdefault(ticket, content))
            if winner is None:
                winner = self._open[ticket] = content
                content.users += 1
            if winner is not content:
                content.users += 1
        if winner is not content:
            self.let_go(content)
        return winner

    def _cache_key(self, key: str, version: str, size: int) -> CacheKey:
        return CacheKey(self._store.identity, key, version, size)


def _stamp(cached: CachedFile) -> tuple[int, int]:
    status = os.fstat(cached.fd)
    return status.st_size, status.st_mtime_ns


class _Errand:
    """One version on its way."""

    __slots__ = ("_asked", "_contents", "_size", "_ticket")

    def __init__(self, contents: Contents, ticket: Ticket, size: int, asked: Asked) -> None:
        self._contents = contents
        self._ticket = ticket
        self._size = size
        self._asked = asked

    def fileno(self) -> int:
        return self._asked.fileno()

    def finish(self) -> None:
        self._contents.arrived(self._ticket, self._size, self._asked)


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
