"""Fetching ahead of the reader: whole objects into the cache, in the order they will be read."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice

from datastores.errors import StoreError
from datastores.storage.contract import ObjectInfo, Store
from datastores.value import Value
from mount.cache.contract import Cache, CacheKey, NoRoom, PartialFile
from mount.cache.gate import ForegroundGate, PriorityGate
from mount.cache.layout import charge
from mount.cache.wanted import key_of, looked_up, wanted_objects

# Below this an object is one request and one `put`.
_WHOLE_BYTES = 4 * 1024 * 1024
# One request of a large object; the gate is asked before each, so this is how long a reader that
# comes has to share the connection.
_RANGE_BYTES = 8 * 1024 * 1024
# A reader that never ends would stop the warming for ever; after this one request is made anyway.
_STEP_ASIDE_SECONDS = 30.0
# While it waits it looks this often whether it was stopped.
_LOOK_AROUND_SECONDS = 0.5
# A store that fails this often in a row is not there.
_FAILURES_IN_A_ROW = 20
_NAMED_FAILURES = 100


class Ending(enum.Enum):
    """Why a warming stopped."""

    DONE = "done"
    FULL = "full"
    STOPPED = "stopped"
    STORE_FAILS = "store fails"


class WarmProgress(Value):
    """How far a warming is; `failed` and the first of its causes by key."""

    fetched: int = 0
    fetched_bytes: int = 0
    already_there: int = 0
    failed: int = 0
    failures: tuple[tuple[str, str], ...] = ()
    ending: Ending | None = None


def warm(
    cache: Cache,
    store: Store,
    keys_or_globs: Sequence[str],
    *,
    order: Iterable[int] | None = None,
    priority_gate: PriorityGate | None = None,
    progress: Callable[[WarmProgress], None] | None = None,
    stop: threading.Event | None = None,
    workers: int = 8,
    limit_bytes: int | None = None,
) -> WarmProgress:
    """Bring objects into the cache in this order, behind every reader that waits; see `wanted`.

    What is there is skipped, so a warming that was cut off goes on where it was. At most
    `limit_bytes` on the disk, or nine tenths of the quota, are brought in: more would push out what this very
    warming brought first. An object that cannot be read is counted and left out. `progress` is
    called from the calling thread, after each object.
    """
    if limit_bytes is None:
        limit_bytes = cache.status().quota_bytes // 10 * 9
    warming = _Warming(
        cache, store, priority_gate or ForegroundGate(), stop or threading.Event(), limit_bytes
    )
    report = progress or (lambda _: None)
    wanted = wanted_objects(store, keys_or_globs, order)
    with ThreadPoolExecutor(workers, thread_name_prefix="warm") as pool:
        try:
            for _ in _in_turn(pool, warming.bring, wanted, workers):
                report(warming.progress())
                if warming.ending:
                    break
        except StoreError as error:
            # The listing itself: nothing more is known to be wanted.
            warming.fail("", error, for_good=True)
        finally:
            warming.ending = warming.ending or Ending.DONE
    done = warming.progress()
    report(done)
    return done


def _in_turn(
    pool: ThreadPoolExecutor,
    bring: Callable[[ObjectInfo | str], None],
    wanted: Iterator[ObjectInfo | str],
    workers: int,
) -> Iterator[None]:
    """Start them in order, few enough at once that the order stays visible."""
    under_way = {pool.submit(bring, one) for one in islice(wanted, workers)}
    while under_way:
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        for one in done:
            # Raises what nobody expected; what a store or the cache refuses was counted.
            one.result()
            under_way |= {pool.submit(bring, after) for after in islice(wanted, 1)}
            yield


class _Warming:
    """One run: what its threads share."""

    def __init__(
        self,
        cache: Cache,
        store: Store,
        gate: PriorityGate,
        stop: threading.Event,
        limit_bytes: int,
    ) -> None:
        self._cache = cache
        self._store = store
        self._gate = gate
        self._stop = stop
        self._turn = threading.Lock()
        # All below: under the turn. `ending` may be read without it.
        self._left_bytes = limit_bytes
        self._fetched = 0
        self._fetched_bytes = 0
        self._already_there = 0
        self._failed = 0
        self._failed_in_a_row = 0
        self._failures: list[tuple[str, str]] = []
        self.ending: Ending | None = None

    def progress(self) -> WarmProgress:
        with self._turn:
            return WarmProgress(
                self._fetched,
                self._fetched_bytes,
                self._already_there,
                self._failed,
                tuple(self._failures),
                self.ending,
            )

    def bring(self, one: ObjectInfo | str) -> None:
        """One object, unless the run is over."""
        if not self._may_ask():
            return
        try:
            info = looked_up(self._store, one)
            self._fetch(info)
        except NoRoom:
            self._end(Ending.FULL)
        except StoreError as error:
            self.fail(key_of(one), error)

    def fail(self, key: str, error: StoreError, *, for_good: bool = False) -> None:
        with self._turn:
            self._failed += 1
            self._failed_in_a_row += error.temporary
            if len(self._failures) < _NAMED_FAILURES:
                self._failures.append((key, str(error)))
            if for_good or self._failed_in_a_row >= _FAILURES_IN_A_ROW:
                self.ending = self.ending or Ending.STORE_FAILS

    def _fetch(self, info: ObjectInfo) -> None:
        key = CacheKey(self._store.identity, info.key, info.version or "", info.size)
        if held := self._cache.find(key):
            held.close()
            with self._turn:
                self._already_there += 1
            return
        if not self._reserve(charge(info.size)):
            raise NoRoom(f'"{info.key}" is beyond what this warming may bring')
        complete = self._whole(key) if info.size <= _WHOLE_BYTES else self._by_ranges(key)
        with self._turn:
            self._failed_in_a_row = 0
            self._fetched += complete
            self._fetched_bytes += info.size if complete else 0

    def _whole(self, key: CacheKey) -> bool:
        self._cache.put(key, self._read(key, 0, key.size)).close()
        return True

    def _by_ranges(self, key: CacheKey) -> bool:
        filling = self._cache.fill(key)
        try:
            for start, length in _ranges(filling, key.size):
                if not self._may_ask():
                    return False
                # Somebody else may have brought it since the question before.
                if filling.missing(start, length):
                    filling.write(start, self._read(key, start, length))
            held = filling.finish()
            if held is None:
                raise NoRoom(f'"{key.key}" did not become complete; it is read without the cache')
            held.close()
            return True
        finally:
            filling.close()

    def _read(self, key: CacheKey, start: int, length: int) -> bytes:
        if not length:
            return b""
        with self._store.read(key.key, start=start, length=length, version=key.version) as stream:
            return b"".join(stream)

    def _may_ask(self) -> bool:
        """Wait until no reader waits; False when the run is over."""
        end = time.monotonic() + _STEP_ASIDE_SECONDS
        while not self._stop.is_set() and not self.ending:
            if self._gate.wait(_LOOK_AROUND_SECONDS) or time.monotonic() > end:
                return True
        if self._stop.is_set():
            self._end(Ending.STOPPED)
        return False

    def _reserve(self, room: int) -> bool:
        with self._turn:
            if room > self._left_bytes:
                return False
            self._left_bytes -= room
            return True

    def _end(self, ending: Ending) -> None:
        with self._turn:
            self.ending = self.ending or ending


def _ranges(filling: PartialFile, size: int) -> Iterator[tuple[int, int]]:
    """What is missing, in pieces of one request each."""
    for start, length in filling.missing(0, size):
        for at in range(start, start + length, _RANGE_BYTES):
            yield at, min(_RANGE_BYTES, start + length - at)
