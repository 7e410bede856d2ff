"""The bytes of one version of a file, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from datastores.errors import PreconditionFailed, Unavailable, Unsupported
from datastores.storage.contract import ObjectInfo
from datastores.storage.file_share.connection import Connection
from datastores.storage.file_share.failures import translated
from datastores.storage.file_share.objects import info_of, version_of
from datastores.storage.file_share.place import Place

# The service answers ranges of any size; beyond this one request holds too much memory.
PIECE_BYTES = 4 * 1024 * 1024


class FileStream:
    """Pieces fetched one after the other, each checked for length and version."""

    def __init__(
        self, source: FileSource, info: ObjectInfo, start: int, stop: int, first: bytes
    ) -> None:
        self._source, self._info = source, info
        self._start, self._stop, self._first = start, stop, first
        self._is_closed = False

    @property
    def info(self) -> ObjectInfo:
        return self._info

    def __iter__(self) -> Iterator[bytes]:
        at = self._start
        if self._first:
            yield self._first
            at += len(self._first)
        while at < self._stop:
            if self._is_closed:
                raise ValueError("the stream is closed; open it again")
            piece = self._source.piece(at, min(PIECE_BYTES, self._stop - at), self._info)
            yield piece
            at += len(piece)

    def close(self) -> None:
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class FileSource:
    """One file to read from."""

    def __init__(self, connection: Connection, place: Place, key: str) -> None:
        self._connection, self._place, self._key = connection, place, key

    def stat(self) -> ObjectInfo:
        """The file as it is now."""
        with translated(self._place, self._key, looking=True):
            return info_of(self._key, self._connection.file(self._key).get_file_properties())

    def open(self, start: int, length: int | None, version: str | None) -> FileStream:
        """A stream whose first piece is here already, since it also tells the version."""
        want = PIECE_BYTES if length is None else min(PIECE_BYTES, length)
        found = self._fetch(start, want) if want else None
        if found is None:
            # Nothing was asked for, or nothing is there; either way there are no bytes to send.
            info = self.stat()
            self._must_be(version, info.version)
            return FileStream(self, info, start, start, b"")
        data, properties = found
        size = int(properties.content_range.rpartition("/")[2])
        info = info_of(self._key, properties, size=size)
        self._must_be(version, info.version)
        stop = size if length is None else min(size, start + length)
        return FileStream(self, info, start, stop, self._whole(data, min(want, stop - start)))

    def piece(self, start: int, length: int, info: ObjectInfo) -> bytes:
        """A later piece; it must be of the version that the stream began with."""
        found = self._fetch(start, length)
        if found is None:
            raise PreconditionFailed(self._place.label, self._key, "it shrank; read it again")
        data, properties = found
        self._must_be(info.version, version_of(properties))
        return self._whole(data, length)

    def _fetch(self, start: int, length: int) -> tuple[bytes, Any] | None:
        """Bytes and facts; None when the file ends before the range begins."""
        from azure.core.exceptions import HttpResponseError

        with translated(self._place, self._key, looking=True):
            try:
                # The bytes as stored: a Content-Encoding is the writer's business.
                answer = self._connection.file(self._key).download_file(
                    offset=start, length=length, decompress=False
                )
                return answer.readall(), answer.properties
            except HttpResponseError as error:
                if error.status_code == 416:
                    return None
                raise

    def _must_be(self, want: str | None, got: str | None) -> None:
        if want is not None and want != got:
            raise PreconditionFailed(self._place.label, self._key, "read it again")

    def _whole(self, data: bytes, want: int) -> bytes:
        if len(data) < want:
            raise Unavailable(
                self._place.label,
                self._key,
                f"{self._place.host} sent {len(data)} of {want} bytes and stopped; read it again",
            )
        if len(data) > want:
            raise Unsupported(
                self._place.label,
                self._key,
                f"{self._place.host} sent {len(data)} bytes for {want}; it ignores ranges",
            )
        return data
