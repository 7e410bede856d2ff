"""Ranges of one large object: fetched side by side, each once, into the cache's partial file."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datastores.errors import DatastoresError, Unavailable
from datastores.storage.contract import Store
from mount.cache.contract import CachedFile, CacheKey, NoRoom, PartialFile
from mount.fs.counters import Counters
from mount.fs.extents import Extents
from mount.fs.fetch import LONGEST_WAIT_SECONDS, fetch_into, fetch_range
from mount.fs.fetchers import Fetchers
from mount.fs.memory_blocks import MemoryBlocks
from mount.fs.read_ahead import Pace, Reach, observe
from mount.fs.view import MountView

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from mount.fs.contents import Content

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Flight:
    """One request under way; `landed` is how far its bytes can be read."""

    start: int
    end: int
    landed: int
    is_ahead: bool


class Pacer:
    """A handle's reader, watched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Under the lock.
        self._pace = Pace()

    def observe(self, start: int, end: int, reach: Reach) -> Sequence[tuple[int, int]]:
        with self._lock:
            self._pace, ranges = observe(self._pace, start, end, reach)
        return ranges


class RangeReader:
    """Reads of one version of one object; all its handles share what was fetched."""

    def __init__(
        self,
        store: Store,
        content: Content,
        partial: PartialFile | None,
        view: MountView,
        crew: Executor,
        counters: Counters,
        fetchers: Fetchers,
    ) -> None:
        self._store = store
        self._content = content
        self._view = view
        self._crew = crew
        self._counters = counters
        self._fetchers = fetchers
        self._landed = threading.Condition()
        # Under the condition's lock, which no other lock is taken under.
        self._partial = partial
        self._blocks: PartialFile = partial or self._in_memory()
        self._flights: list[Flight] = []
        self._unread = Extents()
        self._gaps: Sequence[int] = ()
        self._closed = False
        self._complete: CachedFile | None = None

    def read(self, start: int, end: int, pacer: Pacer) -> Buffer:
        """The bytes of a range; `start` < `end` <= size."""
        own, ahead = self._board(start, end, pacer)
        for flight in ahead:
            self._crew.submit(self._fly_ahead, flight)
        for flight in own:
            self._fly(flight)
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while True:
            self._wait_for_others(start, end, deadline)
            found = self._blocks.read(start, end - start)
            if found is not None:
                return found
            # Somebody else's request failed, or the block went again: ask for exactly this.
            if not self._is_under_way(start, end):
                return fetch_range(self._store, self._content, start, end, self._counters)

    def at_once(self, start: int, end: int, pacer: Pacer) -> Buffer | None:
        """The bytes if they are here; read-ahead goes on in the background."""
        found = self._blocks.read(start, end - start)
        if found is None:
            return None
        _, ahead = self._board(start, end, pacer)
        for flight in ahead:
            self._crew.submit(self._fly_ahead, flight)
        return found

    def finished(self) -> CachedFile | None:
        """The complete file, once all of it is here; the caller closes it."""
        with self._landed:
            complete, self._complete = self._complete, None
        return complete

    def close(self) -> None:
        """No more reads; flights end by themselves and are waited for."""
        with self._landed:
            self._closed = True
            self._landed.wait_for(lambda: not self._flights, LONGEST_WAIT_SECONDS)
            unused = self._unread.total
            complete, self._complete = self._complete, None
        self._counters.add("bytes_ahead_unused", unused)
        self._blocks.close()
        if self._partial and self._partial is not self._blocks:
            self._partial.close()
        if complete:
            complete.close()

    def _board(
        self, start: int, end: int, pacer: Pacer
    ) -> tuple[Sequence[Flight], Sequence[Flight]]:
        ranges = pacer.observe(start, end, self._reach())
        with self._landed:
            self._unread.remove(start, end)
            own = self._new_flights(start, end, is_ahead=False)
            flying = sum(flight.is_ahead for flight in self._flights)
            ahead: list[Flight] = []
            for range_start, range_end in ranges:
                if self._closed or flying + len(ahead) >= self._view.connections:
                    break
                ahead += self._new_flights(range_start, range_end, is_ahead=True)
        return own, ahead

    def _new_flights(self, start: int, end: int, *, is_ahead: bool) -> list[Flight]:
        under_way = Extents(*((flight.start, flight.end) for flight in self._flights))
        new = [
            Flight(at, min(at + self._view.part_bytes, gap_end), at, is_ahead)
            for missing, length in self._blocks.missing(start, end - start)
            for gap, gap_end in under_way.gaps(missing, missing + length)
            for at in range(gap, gap_end, self._view.part_bytes)
        ]
        self._flights += new
        for flight in new if is_ahead else ():
            self._unread.add(flight.start, flight.end)
        return new

    def _reach(self) -> Reach:
        size, window = self._content.size, self._view.window_bytes
        in_memory = isinstance(self._blocks, MemoryBlocks)
        return Reach(size, min(window, self._memory_share() // 2) if in_memory else window)

    def _fly_ahead(self, flight: Flight) -> None:
        try:
            self._fly(flight)
            self._counters.add("bytes_ahead", flight.end - flight.start)
        except (DatastoresError, OSError) as error:
            # Whoever needs these bytes asks for them and hears of it.
            self._counters.add("failed_ahead")
            log.debug("read-ahead of %s failed: %s", self._content.key, error)

    def _fly(self, flight: Flight) -> None:
        try:
            if flight.is_ahead:
                self._fly_elsewhere(flight)
            if flight.landed < flight.end:
                fetch_into(self._store, self._content, flight.landed, flight.end, self, flight)
        finally:
            with self._landed:
                self._flights.remove(flight)
                self._landed.notify_all()
        self._finish_if_complete()

    def _fly_elsewhere(self, flight: Flight) -> None:
        """As much of a flight as another process puts into the partial file."""
        # This one has enough to do with handing bytes to the kernel. 512 MiB in order cost it 0.65
        # CPU-s and the others 1.1, instead of 2.0 in one process.
        content, partial = self._content, self._partial
        if partial is None or self._blocks is not partial or content.version is None:
            return
        wanted = CacheKey(self._store.identity, content.key, content.version, content.size)
        asked = self._fetchers.begin_range(wanted, flight.start, flight.end)
        if asked is None:
            return
        for landed in asked.landings(flight.end):
            partial.note_written(flight.landed, landed - flight.landed)
            with self._landed:
                flight.landed = landed
                self._landed.notify_all()

    @property
    def block_bytes(self) -> int:
        return self._blocks.block_bytes

    def put(self, flight: Flight, start: int, *pieces: Buffer) -> None:
        """Take in whole blocks of a flight."""
        size = sum(memoryview(piece).nbytes for piece in pieces)
        self._counters.add("bytes_fetched", size)
        try:
            self._blocks.write(start, *pieces)
        except NoRoom:
            self._leave_the_cache().write(start, *pieces)
        with self._landed:
            flight.landed = start + size
            self._landed.notify_all()

    def count_request(self) -> None:
        self._counters.add("requests")

    def _leave_the_cache(self) -> PartialFile:
        with self._landed:
            if self._blocks is self._partial:
                self._counters.add("without_cache")
                self._blocks = self._in_memory()
            return self._blocks

    def _finish_if_complete(self) -> None:
        with self._landed:
            if self._flights or self._blocks is not self._partial or self._complete:
                return
            if self._has_gap():
                return
        complete = self._blocks.finish()
        with self._landed:
            if complete and not self._complete and not self._closed:
                complete, self._complete = None, complete
        if complete:
            complete.close()

    def _has_gap(self) -> bool:
        # The first or the last byte that was missing is missing still, mostly. To look at every
        # block took 5 ms for a file of 4 GiB, after each request, and most of a random read's CPU.
        if any(self._blocks.missing(at, 1) for at in self._gaps):
            return True
        missing = self._blocks.missing(0, self._content.size)
        self._gaps = (missing[0][0], sum(missing[-1]) - 1) if missing else ()
        return bool(missing)

    def _wait_for_others(self, start: int, end: int, deadline: float) -> None:
        with self._landed:
            done = self._landed.wait_for(
                lambda: all(
                    flight.landed >= min(end, flight.end)
                    for flight in self._flights
                    if flight.start < end and flight.end > start
                ),
                deadline - time.monotonic(),
            )
        if not done:
            raise Unavailable(
                self._store.label, self._content.key, "its bytes do not arrive; read it again"
            )

    def _is_under_way(self, start: int, end: int) -> bool:
        with self._landed:
            return any(
                flight.start < end and flight.end > start and flight.landed < min(end, flight.end)
                for flight in self._flights
            )

    def _memory_share(self) -> int:
        # Eight large files at once without a cache share the budget.
        return max(2 * self._view.part_bytes, self._view.memory_bytes // 8)

    def _in_memory(self) -> MemoryBlocks:
        return MemoryBlocks(
            self._content.size,
            self._memory_share(),
            lambda more: self._counters.add("memory_bytes", more),
        )
