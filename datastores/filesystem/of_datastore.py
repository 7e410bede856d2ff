"""The fsspec file system of one datastore, rooted at the datastore."""

from __future__ import annotations

import json
from typing import Protocol

import fsspec
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from datastores.credentials.kinds import Credential, StorageOptions
from datastores.definitions import BlobContainer, DataLakeGen2, Definition, FsspecUrl, LocalFolder
from datastores.storage.contract import Store


class FileDatastore(Protocol):
    """What a file system needs of a datastore; it pickles in its place."""

    def unlock(self) -> tuple[Definition, Credential]: ...

    def open_store(self) -> Store: ...


class RootedFileSystem(DirFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Some file system seen from a datastore's root; pickles as the datastore, without secrets."""

    cachable = False

    def __init__(
        self, datastore: FileDatastore, root: str, inner: fsspec.AbstractFileSystem
    ) -> None:
        self.datastore = datastore
        super().__init__(path=root, fs=inner)

    def __reduce__(self) -> tuple[object, ...]:
        return filesystem_of, (self.datastore,)


def filesystem_of(datastore: FileDatastore) -> fsspec.AbstractFileSystem:
    """Adlfs for blobs and Gen2, fsspec's own for local folders and URLs, ours for the rest."""
    definition, credential = datastore.unlock()
    match definition:
        case BlobContainer() | DataLakeGen2():
            from datastores.filesystem.container import ContainerFileSystem

            inner = ContainerFileSystem(definition, credential)
            return RootedFileSystem(datastore, definition.container, inner)
        case LocalFolder():
            return RootedFileSystem(datastore, definition.path, LocalFileSystem(auto_mkdir=True))
        case FsspecUrl():
            options = (
                json.loads(credential.options.reveal())
                if isinstance(credential, StorageOptions)
                else {}
            )
            if definition.url.startswith(("file://", "local://")):
                options.setdefault("auto_mkdir", True)  # folders of stores need no making
            inner, root = fsspec.core.url_to_fs(
                definition.url, skip_instance_cache=True, use_listings_cache=False, **options
            )
            return RootedFileSystem(datastore, root, inner)
        case _:
            from datastores.filesystem.store_filesystem import StoreFileSystem

            return StoreFileSystem(datastore)
