"""The bytes of one version of a file as they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from datastores.errors import PreconditionFailed, Unavailable
from datastores.secret import masked
from datastores.storage.contract import ObjectInfo
from datastores.storage.webhdfs.client import Client
from datastores.storage.webhdfs.failures import failed

PIECE_BYTES = 1024 * 1024


class Gen1Stream:
    """One response, checked for its length and, at its end, for a writer that came between."""

    def __init__(self, client: Client, info: ObjectInfo, start: int, stop: int) -> None:
        self._client, self._info = client, info
        self._start, self._stop = start, stop
        self._response = client.open(info.key, start, stop - start) if start < stop else None

    @property
    def info(self) -> ObjectInfo:
        return self._info

    def __iter__(self) -> Iterator[bytes]:
        import requests

        if self._response is None:
            return
        got, want = 0, self._stop - self._start
        pieces = self._response.iter_content(PIECE_BYTES)
        while got < want:
            try:
                piece = next(pieces, b"")
            except requests.RequestException as error:
                raise failed(
                    self._client.label, self._client.host, self._info.key, error
                ) from masked(error)
            if not piece:
                break
            got += len(piece)
            if got <= want:
                yield piece
        self.close()
        self._verify(got, want)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _verify(self, got: int, want: int) -> None:
        label, key = self._client.label, self._info.key
        if got != want:
            raise Unavailable(
                label, key, f"{self._client.host} sent {got} of {want} bytes; read it again"
            )
        # Answers to OPEN carry no version, so equal versions before and after are the proof.
        now = self._client.status(key).as_object(key)
        if now.version != self._info.version:
            raise PreconditionFailed(label, key, "it was replaced while it was read; read it again")
