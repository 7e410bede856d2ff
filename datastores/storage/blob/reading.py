"""The bytes of one version of a blob, piece by piece."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from datastores.errors import NotFound, PreconditionFailed, Unavailable
from datastores.storage.blob.failures import cut_short, without_length
from datastores.storage.blob.headers import info_from
from datastores.storage.blob.listing import is_marker
from datastores.storage.blob.place import Place
from datastores.storage.blob.wire import Wire
from datastores.storage.contract import ObjectInfo
from datastores.storage.forks import generation

if TYPE_CHECKING:
    from typing_extensions import Buffer


class BlobStream:
    """Pieces from either client, counted: a body that ends early raises."""

    def __init__(
        self, place: Place, info: ObjectInfo, size: int, pieces: Generator[Buffer, None, None]
    ) -> None:
        self._place = place
        self._info = info
        self._size = size
        self._pieces = pieces
        self._generation = generation()

    @property
    def info(self) -> ObjectInfo:
        return self._info

    def __iter__(self) -> Iterator[Buffer]:
        got = 0
        self._refuse_other_process()
        for piece in self._pieces:
            got += len(memoryview(piece))
            yield piece
            self._refuse_other_process()
        if got != self._size:
            raise cut_short(self._place, self._info.key, got, self._size)

    def close(self) -> None:
        self._pieces.close()

    def _refuse_other_process(self) -> None:
        # Its connection is the parent's, who goes on reading from it.
        if generation() != self._generation:
            raise Unavailable(
                self._place.label, self._info.key, "it was opened before the fork; read it again"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def nothing(place: Place, info: ObjectInfo, version: str | None) -> BlobStream:
    """The answer to a range without bytes in it."""
    if version is not None and version != info.version:
        raise PreconditionFailed(place.label, info.key, "read it again without a version")
    return BlobStream(place, info, 0, _no_pieces())


def _no_pieces() -> Generator[Buffer, None, None]:
    yield from ()


def read_blob(
    wire: Wire, key: str, start: int, length: int | None, version: str | None
) -> BlobStream:
    """A stream of one version of a blob, or of a range of it."""
    answer = wire.get(key, _wanted(start, length, version))
    if "content-length" not in answer.headers:
        answer.pieces.close()
        raise without_length(wire.place, key)
    info = info_from(key, answer.headers)
    if is_marker(key, info.size, info.metadata):
        answer.pieces.close()
        raise NotFound(wire.place.label, key, "it is a folder")
    return BlobStream(wire.place, info, int(answer.headers["content-length"]), answer.pieces)


def _wanted(start: int, length: int | None, version: str | None) -> Mapping[str, str]:
    headers = {}
    if start or length is not None:
        last = "" if length is None else start + length - 1
        headers["x-ms-range"] = f"bytes={start}-{last}"
    if version is not None:
        headers["If-Match"] = f'"{version}"'
    return headers
