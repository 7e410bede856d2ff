"""Bytes of one version from the store; never a part in silence, never another version."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from datastores.errors import Corrupted, NotFound, PreconditionFailed, StoreError, Unavailable
from datastores.storage.contract import ObjectInfo, ObjectStream, Store
from mount.fs.counters import Counters
from mount.fs.facts import Fact

if TYPE_CHECKING:
    from typing_extensions import Buffer

F = TypeVar("F")
G = TypeVar("G", contravariant=True)  # noqa: PLC0105  # one letter says no less

# Behind this, the store's own patience has long ended.
LONGEST_WAIT_SECONDS = 600.0
# A body that is not what the store said is asked for once more; errors were retried by the store.
ATTEMPTS = 2
# Blocks of a range go on together: locks, entries and accounts for each 256 KiB by itself were a
# third of the interpreter's time for a range, and fetchers told of each.
HANDED_ON_BYTES = 1024 * 1024


class Sink(Protocol[G]):
    """Where the blocks of a request go."""

    @property
    def block_bytes(self) -> int: ...

    def put(self, flight: G, start: int, *pieces: Buffer) -> None: ...

    def count_request(self) -> None: ...


def fetch_whole(
    store: Store, key: str, fact: Fact, most: int, counters: Counters
) -> tuple[ObjectInfo, bytes | None]:
    """All bytes of the object as it is now, and which version that is; None for more than `most`.

    If it is still the version of the fact, it has that size and, where there is one, that MD5.
    """
    flaw: StoreError | None = None
    for _ in range(ATTEMPTS):
        counters.add("requests")
        with store.read(key) as stream:
            if stream.info.size > most:
                return stream.info, None
            data = b"".join(memoryview(piece) for piece in stream)
            info = stream.info
        counters.add("bytes_fetched", len(data))
        flaw = _flaw(store, info, data, fact)
        if flaw is None:
            return info, data
        counters.add("flawed_bodies")
    assert flaw
    raise flaw


def _flaw(store: Store, info: ObjectInfo, data: bytes, fact: Fact) -> StoreError | None:
    is_known = info.version is not None and info.version == fact.version
    # A proxy that cuts a body may cut its Content-Length as well.
    size = fact.size if is_known else info.size
    if not len(data) == info.size == size:
        detail = f"{len(data)} of {size} bytes arrived; read it again"
        return Unavailable(store.label, info.key, detail)
    # 173 us per 100 KiB, which hashlib does without the interpreter: other threads go on meanwhile.
    # The cache's CRC-32 (25 us) is no part of it, and the join of a small body is 5 us.
    if is_known and fact.md5 not in (None, hashlib.md5(data, usedforsecurity=False).digest()):
        return Corrupted(store.label, info.key, "its MD5 differs; read it again, or write it anew")
    return None


class Pinned(Protocol):
    """A version of an object."""

    @property
    def key(self) -> str: ...

    @property
    def version(self) -> str | None: ...

    @property
    def size(self) -> int: ...


def fetch_range(store: Store, content: Pinned, start: int, end: int, counters: Counters) -> bytes:
    """The bytes of a range in memory."""
    for _ in range(ATTEMPTS):
        counters.add("requests")
        with _pinned(store, content, start, end) as stream:
            data = b"".join(memoryview(piece) for piece in stream)
        counters.add("bytes_fetched", len(data))
        if len(data) == end - start:
            return data
    raise _short(store, content, start + len(data), end)


def fetch_into(  # a range, and where it goes
    store: Store, content: Pinned, start: int, end: int, sink: Sink[F], flight: F
) -> None:
    """The bytes of a range, handed on in whole blocks as they arrive."""
    for _ in range(ATTEMPTS):
        sink.count_request()
        start = _stream_into(store, content, start, end, sink, flight)
        if start == end:
            return
    raise _short(store, content, start, end)


def _stream_into(  # as above
    store: Store, content: Pinned, start: int, end: int, sink: Sink[F], flight: F
) -> int:
    """How far whole blocks arrived."""
    landing = _Landing(sink, flight, start, end)
    with _pinned(store, content, start, end) as stream:
        try:
            for piece in stream:
                if landing.arrived + memoryview(piece).nbytes > end:
                    raise Unavailable(store.label, content.key, "more arrived than was asked for")
                landing.take(memoryview(piece))
        finally:
            # Of a body that broke off, too.
            landing.hand_on()
    return landing.start


class _Landing(Generic[F]):
    """What arrived of a range and is not handed on yet."""

    def __init__(self, sink: Sink[F], flight: F, start: int, end: int) -> None:
        self._sink = sink
        self._flight = flight
        self._end = end
        # How far blocks were handed on, and how far bytes arrived.
        self.start = self.arrived = start
        self._blocks: list[memoryview] = []
        self._blocks_end = start
        # What is not a whole block yet. A store whose pieces are blocks is handed on without a
        # copy.
        self._rest: list[memoryview] = []

    def take(self, piece: memoryview) -> None:
        self._rest.append(piece)
        self.arrived += len(piece)
        held = self.arrived - self._blocks_end
        whole = held if self.arrived == self._end else held - held % self._sink.block_bytes
        if not whole:
            return
        data = self._rest[0] if len(self._rest) == 1 else memoryview(b"".join(self._rest))
        self._blocks.append(data[:whole].toreadonly())
        self._blocks_end += whole
        self._rest = [data[whole:]] if whole < held else []
        if self._blocks_end - self.start >= HANDED_ON_BYTES:
            self.hand_on()

    def hand_on(self) -> None:
        blocks, self._blocks = self._blocks, []
        if blocks:
            self._sink.put(self._flight, self.start, *blocks)
            self.start = self._blocks_end


def _pinned(store: Store, content: Pinned, start: int, end: int) -> ObjectStream:
    try:
        stream = store.read(content.key, start=start, length=end - start, version=content.version)
    except NotFound as error:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), content.key) from error
    if stream.info.size != content.size or stream.info.version != content.version:
        stream.close()
        raise PreconditionFailed(store.label, content.key, "open it again")
    return stream


def _short(store: Store, content: Pinned, start: int, end: int) -> Unavailable:
    return Unavailable(
        store.label, content.key, f"it ended at byte {start} of {end}; read it again"
    )
