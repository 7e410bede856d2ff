"""A store that can be called off in the middle of a transfer, and that tells what it wrote."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from datastores.storage.contract import (
    Block,
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

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.contract import Body


class Abandoned(BaseException):
    """The transfer is given up. No error: nothing that handles errors may hold it up."""


# What was written, how long it is, and the MD5 of the bytes that were sent.
OnWritten: TypeAlias = Callable[[ObjectInfo, int, str | None], None]


class Leash:
    """One for all transfers that are given up together."""

    def __init__(self) -> None:
        self._cut = threading.Event()

    def cut(self) -> None:
        """Make every transfer on it stop at its next piece of bytes."""
        self._cut.set()

    def check(self) -> None:
        """Raises `Abandoned` once it is cut."""
        if self._cut.is_set():
            raise Abandoned

    def on_pause(self, identity: str, seconds: float | None) -> None:  # noqa: ARG002  # the retries' signature
        """A retry is about to wait; it need not."""
        self.check()


class LeashedStore:
    """The store's own behaviour, until its leash is cut."""

    def __init__(self, store: Store, leash: Leash, on_written: OnWritten | None = None) -> None:
        self._store = store
        self._leash = leash
        self._on_written = on_written

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
        staging = self._store.staging
        return None if staging is None else _LeashedStaging(staging, self._leash, self._on_written)

    @property
    def renaming(self) -> Renaming | None:
        return self._store.renaming

    @property
    def copying(self) -> Copying | None:
        return self._store.copying

    @property
    def folders(self) -> Folders | None:
        return self._store.folders

    def stat(self, key: str) -> ObjectInfo:
        self._leash.check()
        return self._store.stat(key)

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        self._leash.check()
        stream = self._store.read(key, start=start, length=length, version=version)
        return _LeashedStream(stream, self._leash)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self._leash.check()
        seen = _Seen(body, self._leash)
        info = self._store.write(key, seen.body, only_if=only_if, metadata=metadata)
        if self._on_written is not None:
            self._on_written(info, seen.size, seen.digest.hexdigest())
        return info

    def delete(self, key: str) -> None:
        self._leash.check()
        self._store.delete(key)

    def list(self, prefix: str = "") -> Iterator[Page]:
        return self._pages(self._store.list(prefix))

    def list_folder(self, place: str = "") -> Iterator[Page]:
        return self._pages(self._store.list_folder(place))

    def check(self, *, create: bool = False) -> None:
        self._leash.check()
        self._store.check(create=create)

    def close(self) -> None:
        self._store.close()

    def _pages(self, pages: Iterator[Page]) -> Iterator[Page]:
        self._leash.check()
        for page in pages:
            yield page
            self._leash.check()


class _Seen:
    """A body whose length and digest are known once it was sent."""

    def __init__(self, body: Body, leash: Leash) -> None:
        self._given = body
        self._leash = leash
        self.digest = hashlib.md5(usedforsecurity=False)
        self.size = 0
        self.body: Body = self
        if isinstance(body, bytes):
            self._add(body)
            self.body = body

    def __iter__(self) -> Iterator[Buffer]:
        # From the start again when it is sent again.
        self.digest, self.size = hashlib.md5(usedforsecurity=False), 0
        assert isinstance(self._given, Iterable)
        for piece in self._given:
            self._leash.check()
            self._add(memoryview(piece))
            yield piece

    def _add(self, piece: bytes | memoryview) -> None:
        self.digest.update(piece)
        self.size += memoryview(piece).nbytes


class _LeashedStream:
    def __init__(self, stream: ObjectStream, leash: Leash) -> None:
        self._stream = stream
        self._leash = leash

    @property
    def info(self) -> ObjectInfo:
        return self._stream.info

    def __iter__(self) -> Iterator[Buffer]:
        for piece in self._stream:
            self._leash.check()
            yield piece

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.__exit__(kind, error, trace)


class _LeashedStaging:
    def __init__(self, staging: Staging, leash: Leash, on_written: OnWritten | None) -> None:
        self._staging = staging
        self._leash = leash
        self._on_written = on_written

    @property
    def largest_block(self) -> int:
        return self._staging.largest_block

    @property
    def most_blocks(self) -> int:
        return self._staging.most_blocks

    def stage(self, key: str, block_id: str, body: Buffer) -> None:
        self._leash.check()
        self._staging.stage(key, block_id, body)

    def staged(self, key: str) -> Sequence[Block]:
        self._leash.check()
        return self._staging.staged(key)

    def committed(self, key: str) -> Sequence[Block]:
        self._leash.check()
        return self._staging.committed(key)

    def commit(
        self,
        key: str,
        block_ids: Sequence[str],
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
        md5: bytes | None = None,
    ) -> ObjectInfo:
        self._leash.check()
        info = self._staging.commit(key, block_ids, only_if=only_if, metadata=metadata, md5=md5)
        if self._on_written is not None:
            self._on_written(info, info.size, None if md5 is None else md5.hex())
        return info
