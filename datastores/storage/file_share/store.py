"""A file share as a store.

Names on a share ignore capitals: a look, a read or a delete under another spelling finds the same
file, and whatever would make a second spelling is refused. Folders are real. A write is an upload under a hidden name and
a rename, so readers never see a part of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from datastores import keys
from datastores.credentials.kinds import AccountKey, Credential
from datastores.definitions.azure_storage import FileShare
from datastores.errors import (
    AlreadyExists,
    NotFound,
    PreconditionFailed,
    Unsupported,
)
from datastores.storage.contract import (
    ABSENT,
    Features,
    ObjectInfo,
    ObjectStream,
    Page,
    Patience,
    Presence,
    Store,
)
from datastores.storage.file_share.connection import Connection, connect
from datastores.storage.file_share.copies import Copies
from datastores.storage.file_share.failures import translated
from datastores.storage.file_share.listing import Listing
from datastores.storage.file_share.naming import Naming
from datastores.storage.file_share.place import Place, place_of
from datastores.storage.file_share.spelling import LONGEST_KEY, is_stale, must_carry, must_hold
from datastores.storage.file_share.stream import FileSource
from datastores.storage.file_share.upload import Upload
from datastores.storage.forks import renewed

if TYPE_CHECKING:
    from datastores.storage.contract import Body

# `ABSENT` is judged by the service. A version is compared one round trip before the rename: the
# service's only lock is a lease without end, which a crashed writer would leave on the file.
FEATURES = Features(real_folders=True, atomic_conditions=False, longest_key=LONGEST_KEY)


def open_file_share(definition: FileShare, credential: Credential, patience: Patience) -> Store:
    """The share as a store; nothing is sent before the first use."""
    place = place_of(definition, credential)
    connection = renewed(connect(place, credential, patience))
    naming = Naming(connection, place)
    key = credential.key if isinstance(credential, AccountKey) else None
    store = FileShareStore(connection, place, naming)
    store.copying = Copies(connection, place, naming, store.stat, key, patience)
    return store


class FileShareStore:
    """One share; also its own power of renaming and of folders."""

    staging = None
    copying: Copies | None = None

    def __init__(self, connection: Connection, place: Place, naming: Naming) -> None:
        self._connection, self._place, self._naming = connection, place, naming
        self._listing = Listing(connection, place)
        self._upload = Upload(connection, place, naming)

    @property
    def label(self) -> str:
        return self._place.label

    @property
    def identity(self) -> str:
        return self._place.identity

    @property
    def features(self) -> Features:
        return FEATURES

    @property
    def renaming(self) -> FileShareStore:
        return self

    @property
    def folders(self) -> FileShareStore:
        return self

    def stat(self, key: str) -> ObjectInfo:
        return self._source(key).stat()

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        return self._source(key).open(start, length, version)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        must_hold(self.label, key)
        must_carry(self.label, key, metadata or {})
        self._naming.must_spell_folder(key)
        # Before the upload, to spare it. A version is looked at again after it, while `ABSENT` is
        # then judged by the service.
        self._judge(key, only_if)
        version = only_if if isinstance(only_if, str) else None
        return self._upload.write(
            key, body, only_if, metadata or {}, lambda: self._judge(key, version)
        )

    def delete(self, key: str) -> None:
        must_hold(self.label, key)
        try:
            with translated(self._place, key, looking=True):
                self._connection.file(key).delete_file()
        except NotFound as missing:
            if missing.key is None:
                raise

    def list(self, prefix: str = "") -> Iterator[Page]:
        return self._listing.tree(prefix)

    def list_folder(self, place: str = "") -> Iterator[Page]:
        return self._listing.folder(place)

    def check(self, *, create: bool = False) -> None:
        try:
            next(self._listing.folder(""), None)
        except NotFound:
            if not create:
                raise
            self._create()
            next(self._listing.folder(""), None)

    def close(self) -> None:
        self._connection.close()

    def rename(self, key: str, new_key: str) -> None:
        must_hold(self.label, key)
        must_hold(self.label, new_key)
        if key != new_key and keys.is_below(new_key, key):
            raise Unsupported(self.label, key, "a folder cannot move into itself; name another")
        is_folder = self._is_folder(key)
        if key != new_key:
            self._naming.must_spell_folder(new_key)
            self._naming.with_folder(new_key, lambda: self._rename(key, new_key, is_folder))

    def make_folder(self, place: str) -> None:
        must_hold(self.label, place)
        self._naming.must_spell_folder(keys.join(place, "inside"))
        self._naming.make_folder(place)

    def remove_folder(self, place: str) -> None:
        must_hold(self.label, place)
        try:
            self._remove(place)
        except Unsupported:
            # What a crashed writer left is not to be seen, so nobody else can remove it.
            stale = self._stale(place)
            if not stale:
                raise
            for left in stale:
                self._naming.discard(left)
            self._remove(place)

    def _source(self, key: str) -> FileSource:
        must_hold(self.label, key)
        return FileSource(self._connection, self._place, key)

    def _judge(self, key: str, only_if: str | Presence | None) -> None:
        """Look whether a condition holds now."""
        if only_if is None:
            return
        try:
            there = self.stat(key)
        except NotFound as missing:
            if only_if is ABSENT:
                return
            raise PreconditionFailed(self.label, key, "it is not there; read again") from missing
        if only_if is ABSENT:
            raise AlreadyExists(self.label, key, "it was to be made only if absent")
        if there.version != only_if:
            raise PreconditionFailed(self.label, key, "read it again and repeat the change")

    def _is_folder(self, key: str) -> bool:
        try:
            self.stat(key)
        except NotFound as missing:
            if missing.key is None:
                raise
        else:
            return False
        with translated(self._place, key, looking=True):
            self._connection.folder(key).get_directory_properties()
        return True

    def _remove(self, folder: str) -> None:
        try:
            with translated(self._place, folder, looking=True):
                self._connection.folder(folder).delete_directory()
        except NotFound as missing:
            if missing.key is None:
                raise

    def _stale(self, folder: str) -> Sequence[str]:
        now_ns = time.time_ns()
        left = self._listing.unfinished(folder)
        return [info.key for info in left if is_stale(info.modified_ns, now_ns)]

    def _rename(self, key: str, new_key: str, is_folder: bool) -> None:
        if not is_folder:
            self._naming.give(key, new_key, None)
            return
        with translated(self._place, new_key):
            self._connection.folder(key).rename_directory(new_key)

    def _create(self) -> None:
        try:
            with translated(self._place, None):
                self._connection.share().create_share()
        except AlreadyExists:
            return
