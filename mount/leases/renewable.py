"""A store whose credential is exchanged while it is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from datastores.contract import LeaseSpec
from datastores.errors import CredentialError, PermissionDenied
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
from datastores.storage.forks import renewed
from datastores.storage.shown import Shown
from mount.leases.lease import RenewableLease
from mount.leases.tenure import Tenure

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from datastores.storage.contract import Body

T = TypeVar("T")
OpenWith: TypeAlias = Callable[[LeaseSpec | None], Store]
Check: TypeAlias = Callable[[], None]


def open_renewable(
    lease: RenewableLease, open_with: OpenWith, *, check: Check | None = None
) -> RenewableStore:
    """The store as the lease opens it now, and as each later lease will open it.

    `check` is called while a call waits for a late lease, and may end it by raising.
    """
    number, spec = lease.current(check)
    return renewed(RenewableStore(lease, open_with, Tenure(number, open_with(spec)), check))


class RenewableStore:
    """The inner store, opened anew with each new lease; calls under way end in the old one.

    A call that the service refuses is made again when there is a newer lease by then, and waits
    for one when the old one has ended. Streams and listings go on where they were. A write from an
    iterator, which comes once, is not made again.
    """

    def __init__(
        self, lease: RenewableLease, open_with: OpenWith, first: Tenure, check: Check | None
    ) -> None:
        self.lease = lease
        self._open_with = open_with
        self._check = check
        self._label = first.store.label
        self._identity = first.store.identity
        self._lock = threading.Lock()
        # Exchanged under the lock.
        self._tenure = first

    def renew(self) -> None:
        """In a forked child: threads of the parent may have held the locks.

        Later leases do not come here, so a child should not live long.
        """
        self._lock = threading.Lock()
        self._tenure.renew()
        self.lease.forget_waiters()

    @property
    def label(self) -> str:
        return self._label

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def features(self) -> Features:
        return self._tenure.store.features

    @property
    def staging(self) -> Staging | None:
        return self._tenure.store.staging and _RenewableStaging(self)

    @property
    def renaming(self) -> Renaming | None:
        return self._tenure.store.renaming and _RenewableRenaming(self)

    @property
    def copying(self) -> Copying | None:
        return self._tenure.store.copying and _RenewableCopying(self)

    @property
    def folders(self) -> Folders | None:
        return self._tenure.store.folders and _RenewableFolders(self)

    def stat(self, key: str) -> ObjectInfo:
        return self.run(lambda store: store.stat(key))

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        return _RenewableStream(self, *self.open_stream(key, start, length, version), start, length)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        def act(store: Store) -> ObjectInfo:
            return store.write(key, body, only_if=only_if, metadata=metadata)

        return self.run(act, again=not isinstance(body, Iterator))

    def delete(self, key: str) -> None:
        self.run(lambda store: store.delete(key))

    def list(self, prefix: str = "") -> Iterator[Page]:
        return self._pages(lambda store: store.list(prefix))

    def list_folder(self, place: str = "") -> Iterator[Page]:
        return self._pages(lambda store: store.list_folder(place))

    def check(self, *, create: bool = False) -> None:
        self.run(lambda store: store.check(create=create))

    def close(self) -> None:
        self._tenure.store.close()

    def run(self, act: Callable[[Store], T], *, again: bool = True) -> T:
        """One call in the store of the newest lease."""
        while True:
            tenure = self.enter()
            try:
                return act(tenure.store)
            except (CredentialError, PermissionDenied) as error:
                self.await_newer(tenure, error)
                if not again:
                    raise
            finally:
                tenure.leave()

    def open_stream(
        self, key: str, start: int, length: int | None, version: str | None
    ) -> tuple[ObjectStream, Tenure]:
        """The inner stream and its tenure, which whoever closes the stream leaves."""
        while True:
            tenure = self.enter()
            try:
                return tenure.store.read(key, start=start, length=length, version=version), tenure
            except (CredentialError, PermissionDenied) as error:
                tenure.leave()
                self.await_newer(tenure, error)
            except BaseException:
                tenure.leave()
                raise

    def enter(self) -> Tenure:
        """The tenure of the newest lease, to be left again."""
        number, spec = self.lease.current(self._check)
        with self._lock:
            if number > self._tenure.number:
                before = self._tenure
                self._tenure = Tenure(number, self._open_with(spec))
                before.end()
            self._tenure.enter()
            return self._tenure

    def await_newer(self, tenure: Tenure, error: Exception) -> None:
        """Returns when there is a newer lease than the one refused; raises otherwise."""
        self.lease.refused(tenure.number, error, self._check)

    def _pages(self, begin: Callable[[Store], Iterator[Page]]) -> Iterator[Page]:
        seen = Shown()
        while True:
            tenure = self.enter()
            try:
                for page in begin(tenure.store):
                    yield seen.unseen(page)
            except (CredentialError, PermissionDenied) as error:
                if not seen.in_order:
                    raise
                self.await_newer(tenure, error)
                seen.resuming = True
            else:
                return
            finally:
                tenure.leave()


class _RenewableStream:
    """A stream that goes on with the same version in a newer store, where it was refused."""

    def __init__(
        self,
        store: RenewableStore,
        stream: ObjectStream,
        tenure: Tenure,
        start: int,
        length: int | None,
    ) -> None:
        self._store = store
        self._stream = stream
        # None once it is left.
        self._tenure: Tenure | None = tenure
        self._at = start
        end = stream.info.size if length is None else min(stream.info.size, start + length)
        self._end = max(start, end)

    @property
    def info(self) -> ObjectInfo:
        return self._stream.info

    def __iter__(self) -> Iterator[Buffer]:
        while True:
            try:
                for piece in self._stream:
                    self._at += memoryview(piece).nbytes
                    yield piece
            except (CredentialError, PermissionDenied) as error:
                self._renew(error)
            else:
                return

    def close(self) -> None:
        self._stream.close()
        tenure, self._tenure = self._tenure, None
        if tenure is not None:
            tenure.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _renew(self, error: Exception) -> None:
        tenure, info = self._tenure, self._stream.info
        # Without a version the rest could come from another object.
        if tenure is None or info.version is None:
            raise error
        self._store.await_newer(tenure, error)
        self.close()
        self._stream, self._tenure = self._store.open_stream(
            info.key, self._at, self._end - self._at, info.version
        )


class _Power:
    """A power of whatever store the lease opens at the moment."""

    __slots__ = ("store",)

    def __init__(self, store: RenewableStore) -> None:
        self.store = store


class _RenewableStaging(_Power):
    __slots__ = ()

    @property
    def largest_block(self) -> int:
        return self.store.run(lambda inner: _power(inner.staging).largest_block)

    @property
    def most_blocks(self) -> int:
        return self.store.run(lambda inner: _power(inner.staging).most_blocks)

    def stage(self, key: str, block_id: str, body: Buffer) -> None:
        self.store.run(lambda inner: _power(inner.staging).stage(key, block_id, body))

    def staged(self, key: str) -> Sequence[Block]:
        return self.store.run(lambda inner: _power(inner.staging).staged(key))

    def committed(self, key: str) -> Sequence[Block]:
        return self.store.run(lambda inner: _power(inner.staging).committed(key))

    def commit(
        self,
        key: str,
        block_ids: Sequence[str],
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
        md5: bytes | None = None,
    ) -> ObjectInfo:
        return self.store.run(
            lambda inner: _power(inner.staging).commit(
                key, block_ids, only_if=only_if, metadata=metadata, md5=md5
            )
        )


class _RenewableRenaming(_Power):
    __slots__ = ()

    def rename(self, key: str, new_key: str) -> None:
        self.store.run(lambda inner: _power(inner.renaming).rename(key, new_key))


class _RenewableCopying(_Power):
    __slots__ = ()

    def copy(self, key: str, new_key: str) -> ObjectInfo:
        return self.store.run(lambda inner: _power(inner.copying).copy(key, new_key))

    def signed_url(self, key: str, lifetime_seconds: float) -> str | None:
        return self.store.run(lambda inner: _power(inner.copying).signed_url(key, lifetime_seconds))

    def copy_from(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:
        return self.store.run(lambda inner: _power(inner.copying).copy_from(url, key, source))


class _RenewableFolders(_Power):
    __slots__ = ()

    def make_folder(self, place: str) -> None:
        self.store.run(lambda inner: _power(inner.folders).make_folder(place))

    def remove_folder(self, place: str) -> None:
        self.store.run(lambda inner: _power(inner.folders).remove_folder(place))


def _power(power: T | None) -> T:
    """A power that the store had when it was first opened: stores of one definition are alike."""
    assert power is not None
    return power
