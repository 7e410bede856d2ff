"""A store whose reads go through the node's cache, for downloads of many jobs of the same data."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from datastores.errors import PreconditionFailed
from datastores.storage.contract import (
    Copying,
    Features,
    Folders,
    ObjectInfo,
    ObjectStream,
    Page,
    Presence,
    Renaming,
    Staging,
    Store,
)
from mount.agent.fetch_locks import FetchLocks
from mount.cache.contract import Cache, CachedFile, CacheKey, NoRoom, PartialFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.contract import Body

# Below this an object is one request, held in memory for a moment, and one file of the cache.
_WHOLE_BYTES = 1 << 20
# What a thread holds of a larger one.
_PIECE_BYTES = 1 << 20
# Listed objects whose read is still to come; a plan runs a few pages ahead of its transfers.
_MOST_LISTED = 20_000


@dataclass(slots=True)
class CacheCounts:
    """What a download had from where, in objects or ranges, and in bytes."""

    cache_hits: int = 0
    cache_misses: int = 0
    cache_bytes: int = 0
    requests: int = 0
    bytes_fetched: int = 0
    # For others, who fetched the same.
    waited_seconds: float = 0.0


class CachingStore:
    """The inner store; what it reads is looked up in the cache and admitted to it.

    Of all who want one version on a node one fetches it, and the others wait for that. Whatever
    the cache cannot do is done without it. Objects without a version are never cached. An object
    that was listed is read in that version if it is cached. Of the powers only folders are left:
    this is for reading.
    """

    def __init__(
        self, store: Store, cache: Cache, locks: FetchLocks, check: Callable[[], None]
    ) -> None:
        self._store = store
        self._cache = cache
        self._locks = locks
        self._check = check
        self._lock = threading.Lock()
        # Both under the lock.
        self._listed: OrderedDict[str, ObjectInfo] = OrderedDict()
        self._counts = CacheCounts()

    def counters(self) -> dict[str, int | float]:
        with self._lock:
            return asdict(self._counts)

    @property
    def label(self) -> str:
        return self._store.label

    @property
    def identity(self) -> str:
        return self._store.identity

    @property
    def features(self) -> Features:
        return self._store.features

    @property
    def staging(self) -> Staging | None:
        return None

    @property
    def renaming(self) -> Renaming | None:
        return None

    @property
    def copying(self) -> Copying | None:
        return None

    @property
    def folders(self) -> Folders | None:
        return self._store.folders

    def stat(self, key: str) -> ObjectInfo:
        info = self._store.stat(key)
        self._remember([info])
        return info

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        info = self._info(key, version)
        if info.version is None or not info.size or start >= info.size:
            return self._directly(key, start, length, version)
        wanted = CacheKey(self.identity, key, info.version, info.size)
        end = info.size if length is None else min(info.size, start + length)
        try:
            if info.size <= _WHOLE_BYTES:
                return self._whole(info, wanted, start, end)
            return self._ranged(info, wanted, start, end)
        except NoRoom:
            return self._directly(key, start, length, version)
        except PreconditionFailed:
            if version is not None:
                raise
            # It was changed since it was listed: what it is now is what was asked for.
            return self._directly(key, start, length, version)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self._forget(key)
        return self._store.write(key, body, only_if=only_if, metadata=metadata)

    def delete(self, key: str) -> None:
        self._forget(key)
        self._store.delete(key)

    def list(self, prefix: str = "") -> Iterator[Page]:
        for page in self._store.list(prefix):
            self._remember(page.objects)
            yield page

    def list_folder(self, place: str = "") -> Iterator[Page]:
        return self._store.list_folder(place)

    def check(self, *, create: bool = False) -> None:
        self._store.check(create=create)

    def close(self) -> None:
        self._store.close()

    def _directly(
        self, key: str, start: int, length: int | None, version: str | None
    ) -> ObjectStream:
        with self._lock:
            self._counts.requests += 1
            self._counts.cache_misses += 1
        stream = self._store.read(key, start=start, length=length, version=version)
        with self._lock:
            self._counts.bytes_fetched += max(
                0, stream.info.size - start if length is None else length
            )
        return stream

    def _whole(self, info: ObjectInfo, wanted: CacheKey, start: int, end: int) -> ObjectStream:
        held = self._cache.find(wanted)
        if held is None:
            with self._alone(f"{wanted.store}\0{wanted.key}"):
                held = self._cache.find(wanted)
                if held is None:
                    data = self._bring_whole(wanted)
                    return _CachedStream(info, ExitStack(), iter([memoryview(data)[start:end]]))
        self._hit(end - start)
        stack = ExitStack()
        stack.callback(held.close)
        return _CachedStream(info, stack, _pieces_of(held, start, end))

    def _bring_whole(self, wanted: CacheKey) -> bytes:
        with self._request(wanted, 0, wanted.size) as stream:
            data = b"".join(stream)
        # What finds no room has arrived all the same.
        with suppress(NoRoom):
            self._cache.put(wanted, data).close()
        return data

    def _ranged(self, info: ObjectInfo, wanted: CacheKey, start: int, end: int) -> ObjectStream:
        with ExitStack() as opening:
            filling = self._cache.fill(wanted)
            opening.callback(filling.close)
            if filling.missing(start, end - start):
                opening.enter_context(self._alone(f"{wanted.store}\0{wanted.key}\0{start}"))
            missing = filling.missing(start, end - start)
            if list(missing) == [(start, end - start)]:
                stream = opening.enter_context(self._request(wanted, start, end - start))
                pieces = _both_ways(stream, filling, wanted, start)
            else:
                if not missing:
                    self._hit(end - start)
                for at, length in missing:
                    with self._request(wanted, at, length) as stream:
                        for _ in _both_ways(stream, filling, wanted, at):
                            """Only the cache wants it."""
                pieces = self._pieces_of(info, filling, start, end)
            return _CachedStream(info, opening.pop_all(), pieces)

    def _request(self, wanted: CacheKey, start: int, length: int) -> ObjectStream:
        with self._lock:
            self._counts.requests += 1
            self._counts.cache_misses += 1
            self._counts.bytes_fetched += length
        return self._store.read(wanted.key, start=start, length=length, version=wanted.version)

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        with self._locks.alone(what, self._check):
            spent = time.monotonic() - began
            with self._lock:
                self._counts.waited_seconds = round(self._counts.waited_seconds + spent, 6)
            yield

    def _pieces_of(
        self, info: ObjectInfo, filling: PartialFile, start: int, end: int
    ) -> Iterator[Buffer]:
        at = start
        while at < end:
            piece = filling.read(at, min(_PIECE_BYTES, end - at))
            if piece is None:
                # Damaged, or dropped by somebody: the store has the rest.
                with self._directly(info.key, at, end - at, info.version) as stream:
                    yield from stream
                return
            yield piece
            at += memoryview(piece).nbytes

    def _hit(self, size: int) -> None:
        with self._lock:
            self._counts.cache_hits += 1
            self._counts.cache_bytes += size

    def _info(self, key: str, version: str | None) -> ObjectInfo:
        with self._lock:
            info = self._listed.get(key)
        if info is None or info.version is None or (version or info.version) != info.version:
            info = self.stat(key)
        if version is not None and info.version != version:
            raise PreconditionFailed(self.label, key, "read it again without a version")
        return info

    def _remember(self, infos: Sequence[ObjectInfo]) -> None:
        with self._lock:
            for info in infos:
                self._listed[info.key] = info
            while len(self._listed) > _MOST_LISTED:
                self._listed.popitem(last=False)

    def _forget(self, key: str) -> None:
        with self._lock:
            self._listed.pop(key, None)


class _CachedStream:
    """Bytes of the cache, which holds them until this is closed."""

    def __init__(self, info: ObjectInfo, held: ExitStack, pieces: Iterator[Buffer]) -> None:
        self._info = info
        self._held = held
        self._pieces = pieces

    @property
    def info(self) -> ObjectInfo:
        return self._info

    def __iter__(self) -> Iterator[Buffer]:
        return self._pieces

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _pieces_of(held: CachedFile, start: int, end: int) -> Iterator[Buffer]:
    at = start
    while at < end:
        piece = os.pread(held.fd, min(_PIECE_BYTES, end - at), at)
        if not piece:
            return
        yield piece
        at += len(piece)


def _both_ways(
    stream: ObjectStream, filling: PartialFile, wanted: CacheKey, start: int
) -> Iterator[Buffer]:
    """The pieces as they come; whole blocks of them are in the cache before the next one."""
    step = max(_PIECE_BYTES // filling.block_bytes, 1) * filling.block_bytes
    pending, at, has_room = bytearray(), start, True
    for piece in stream:
        if has_room:
            pending += memoryview(piece).cast("B")
            whole = len(pending) // step * step
            if whole:
                has_room = _put(filling, at, bytes(pending[:whole]))
                del pending[:whole]
                at += whole
        yield piece
    if has_room and pending:
        _put(filling, at, bytes(pending))
    if has_room and not filling.missing(0, wanted.size) and (held := filling.finish()):
        held.close()


def _put(filling: PartialFile, at: int, data: bytes) -> bool:
    """Whether there was room for it."""
    filling.write(at, data)
    return not filling.missing(at, len(data))
