"""Datastores that hold files: reference them, move files, open them with fsspec."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from datastores.catalog.abstract import AbstractDatastore
from datastores.credentials.kinds import AccountKey, Sas
from datastores.errors import DefinitionRejected
from datastores.keys import parse_place
from datastores.references import DataReference
from datastores.secret import Secret

if TYPE_CHECKING:
    import fsspec

    from datastores.credentials.leases import Access, Lease
    from datastores.storage.contract import Patience, Store


class FileDatastore(AbstractDatastore):
    """Files under keys, wherever they are."""

    def path(
        self, path: str | None = None, data_reference_name: str | None = None
    ) -> DataReference:
        """A reference to a file or folder, seen as a mount until it says otherwise."""
        return DataReference(self).path(path, data_reference_name)

    def as_mount(self) -> DataReference:
        """The whole datastore as a folder that reads from the store."""
        return DataReference(self).as_mount()

    def as_download(self, path_on_compute: str | None = None) -> DataReference:
        """The whole datastore, copied to the compute before the script starts."""
        return DataReference(self).as_download(path_on_compute)

    def as_upload(self, path_on_compute: str | None = None) -> DataReference:
        """Files of the compute, copied to the datastore's root after the script ends."""
        return DataReference(self).as_upload(path_on_compute)

    def upload(
        self,
        src_dir: str | os.PathLike[str],
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Copy a folder's files to a place here, and return a reference to that place.

        Files that exist here are skipped, or replaced one by one with `overwrite`; nothing is
        deleted. A file that fails does not stop the others; the call then ends in `TransferFailed`.
        """
        from datastores import transfer
        from datastores.catalog.progress import azureml_options, watcher_for

        source = Path(os.fspath(src_dir)).expanduser()
        if not source.is_dir():
            raise DefinitionRejected(self.name, f'"{src_dir}" is not a folder; name one to upload')
        place = parse_place(target_path)
        expected = count_files(source) if show_progress else 0
        with self.opened() as store:
            transfer.upload(
                store,
                source,
                place,
                options=azureml_options(overwrite),
                watcher=watcher_for("upload", show_progress, expected),
            )
        return DataReference(self, path_on_datastore=target_path or "")

    def upload_files(
        self,
        files: Sequence[str | os.PathLike[str]],
        relative_root: str | os.PathLike[str] | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Copy single files to a place here; their names there are relative to `relative_root`,
        or to the folder they have in common.
        """
        from datastores import transfer
        from datastores.catalog.progress import azureml_options, watcher_for

        paths = [Path(os.fspath(file)).expanduser() for file in files]
        for path in paths:
            if not path.is_file():
                raise DefinitionRejected(self.name, f'"{path}" is not a file; name files to upload')
        root = None if relative_root is None else Path(os.fspath(relative_root)).expanduser()
        place = parse_place(target_path)
        with self.opened() as store:
            transfer.upload_files(
                store,
                paths,
                place,
                relative_root=root,
                options=azureml_options(overwrite),
                watcher=watcher_for("upload", show_progress, len(paths)),
            )
        return DataReference(self, path_on_datastore=target_path or "")

    def download(
        self,
        target_path: str | os.PathLike[str],
        prefix: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> int:
        """Copy files from here to a local folder and return how many were copied.

        `prefix` names a folder or a file; local names keep it, as in Azure ML. Files that exist
        are skipped, or replaced with `overwrite`.
        """
        from datastores import transfer
        from datastores.catalog.progress import azureml_options, watcher_for

        target = Path(os.fspath(target_path)).expanduser()
        with self.opened() as store:
            summary = transfer.download(
                store,
                parse_place(prefix),
                target,
                options=azureml_options(overwrite, target),
                watcher=watcher_for("download", show_progress),
            )
        return summary.moved

    def filesystem(self) -> fsspec.AbstractFileSystem:
        """An fsspec file system whose root is the datastore's root; adlfs for blobs and Gen2."""
        from datastores.filesystem.of_datastore import filesystem_of

        return filesystem_of(self)

    def lease(
        self, prefix: str, access: Access, lifetime_seconds: float, *, is_file: bool = False
    ) -> Lease:
        """The narrowest credential that gives a job this access below this prefix for so long.

        With `is_file` the prefix is a single file.
        """
        from datastores.credentials.leases import lease

        return lease(
            *self.unlock(),
            prefix=parse_place(prefix),
            access=access,
            lifetime_seconds=lifetime_seconds,
            is_file=is_file,
        )

    def open_store(self, patience: Patience | None = None) -> Store:
        """The store itself, for code that moves bytes; the caller closes it."""
        from datastores.storage.contract import Patience
        from datastores.storage.open import open_store
        from datastores.transfer.hosts import slow_down

        return open_store(*self.unlock(), patience or Patience(), on_pause=slow_down)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Store]:
        """The store for the length of a `with` block."""
        store = self.open_store()
        try:
            yield store
        finally:
            store.close()


def count_files(folder: Path) -> int:
    """How many files an upload of this folder will find, for the line that says so."""
    return sum(len(files) for _, _, files in os.walk(folder))


class AbstractAzureStorageDatastore(FileDatastore):
    """Files in an Azure storage account."""

    attributes: ClassVar[Mapping[str, str]] = {
        "container_name": "container",
        "account_name": "account",
        "protocol": "protocol",
        "endpoint": "endpoint",
    }

    @property
    def account_key(self) -> Secret | None:
        """The account's key, if that is the credential; `.reveal()` gives the text."""
        credential = self.credential()
        return credential.key if isinstance(credential, AccountKey) else None

    @property
    def sas_token(self) -> Secret | None:
        """The shared access signature, if that is the credential; `.reveal()` gives the text."""
        credential = self.credential()
        return credential.token if isinstance(credential, Sas) else None


class AzureBlobDatastore(AbstractAzureStorageDatastore):
    """A blob container."""

    @property
    def blob_cache_timeout(self) -> int | None:
        """Seconds a mount may keep a blob; None is for the whole job."""
        timeout: int | None = getattr(self.definition, "blob_cache_timeout_seconds", None)
        return timeout


class AzureFileDatastore(AbstractAzureStorageDatastore):
    """A file share."""


class _ServicePrincipalFacts(FileDatastore):
    @property
    def tenant_id(self) -> str | None:
        """The tenant of the service principal, if that is the credential."""
        return self._record.credential.get("tenant_id")

    @property
    def client_id(self) -> str | None:
        """The application of the service principal, if that is the credential."""
        return self._record.credential.get("client_id")


class AzureDataLakeGen2Datastore(AbstractAzureStorageDatastore, _ServicePrincipalFacts):
    """A file system with hierarchical names."""


class AzureDataLakeDatastore(_ServicePrincipalFacts):
    """A Gen1 data lake."""

    attributes: ClassVar[Mapping[str, str]] = {"store_name": "store"}


class DBFSDatastore(FileDatastore):
    """The Databricks file system."""


class HDFSDatastore(FileDatastore):
    """A Hadoop file system behind Kerberos."""

    attributes: ClassVar[Mapping[str, str]] = {
        "protocol": "protocol",
        "namenode_address": "namenode_address",
        "kerberos_realm": "kerberos_realm",
        "kerberos_kdc_address": "kerberos_kdc_address",
        "kerberos_principal": "kerberos_principal",
    }


class FsspecDatastore(FileDatastore):
    """Any URL that fsspec knows."""

    attributes: ClassVar[Mapping[str, str]] = {"url": "url"}


class LocalDatastore(FileDatastore):
    """A folder of this machine."""

    attributes: ClassVar[Mapping[str, str]] = {"root": "path"}
