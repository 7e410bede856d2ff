"""Bytes of one version from the store; never a part in silence, never another version."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol, TypeVar

from datastores.errors import NotFound, PreconditionFailed, Unavailable
from datastores.storage.contract import ObjectInfo, ObjectStream, Store
from mount.fs.counters import Counters

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from mount.fs.contents import Content

F = TypeVar("F")
G = TypeVar("G", contravariant=True)  # noqa: PLC0105  # one letter says no less

# A stream that ends early in silence is asked for once more; errors were retried by the store.
ATTEMPTS = 2


class Sink(Protocol[G]):
    """Where the blocks of a request go."""

    @property
    def block_bytes(self) -> int: ...

    def put(self, flight: G, start: int, data: Buffer) -> None: ...

    def count_request(self) -> None: ...


def fetch_whole(store: Store, key: str, counters: Counters) -> tuple[ObjectInfo, bytes]:
    """All bytes of the object as it is now, and which version that is."""
    for _ in range(ATTEMPTS):
        counters.add("requests")
        with store.read(key) as stream:
            data = b"".join(memoryview(piece) for piece in stream)
            info = stream.info
        counters.add("bytes_fetched", len(data))
        if len(data) == info.size:
            return info, data
    raise Unavailable(store.label, key, f"{len(data)} of {info.size} bytes arrived; read it again")


def fetch_range(store: Store, content: Content, start: int, end: int, counters: Counters) -> bytes:
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
    store: Store, content: Content, start: int, end: int, sink: Sink[F], flight: F
) -> None:
    """The bytes of a range, handed on in whole blocks as they arrive."""
    for _ in range(ATTEMPTS):
        sink.count_request()
        start = _stream_into(store, content, start, end, sink, flight)
        if start == end:
            return
    raise _short(store, content, start, end)


def _stream_into(  # as above
    store: Store, content: Content, start: int, end: int, sink: Sink[F], flight: F
) -> int:
    """How far whole blocks arrived."""
    unit = sink.block_bytes
    rest = bytearray()
    with _pinned(store, content, start, end) as stream:
        for piece in stream:
            rest += memoryview(piece)
            if start + len(rest) > end:
                raise Unavailable(store.label, content.key, "more arrived than was asked for")
            whole = len(rest) if start + len(rest) == end else len(rest) - len(rest) % unit
            if whole:
                sink.put(flight, start, memoryview(rest)[:whole].toreadonly())
                rest = rest[whole:]
                start += whole
    return start


def _pinned(store: Store, content: Content, start: int, end: int) -> ObjectStream:
    try:
        stream = store.read(content.key, start=start, length=end - start, version=content.version)
    except NotFound as error:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), content.key) from error
    if stream.info.size != content.size or stream.info.version != content.version:
        stream.close()
        raise PreconditionFailed(store.label, content.key, "open it again")
    return stream


def _short(store: Store, content: Content, start: int, end: int) -> Unavailable:
    return Unavailable(
        store.label, content.key, f"it ended at byte {start} of {end}; read it again"
    )
