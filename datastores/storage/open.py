"""From a definition and a credential to a store, with its wrappers."""

from __future__ import annotations

from pathlib import Path

from datastores.credentials.kinds import Credential
from datastores.definitions import (
    BlobContainer,
    DataLakeGen1,
    DataLakeGen2,
    Dbfs,
    Definition,
    FileShare,
    FsspecUrl,
    Hdfs,
    LocalFolder,
)
from datastores.errors import Unsupported
from datastores.storage.contract import Patience, Store
from datastores.storage.forks import renewed
from datastores.storage.retrying import OnPause, RetryingStore

DBFS_ROOT = Path("/dbfs")
PATIENCE = Patience()


def open_store(
    definition: Definition,
    credential: Credential,
    patience: Patience = PATIENCE,
    *,
    on_pause: OnPause | None = None,
) -> Store:
    """The place a definition names, ready for use; nothing is sent before the first call.

    The caller closes it. `Unsupported` for places that hold no files, or that this machine
    cannot reach.
    """
    return RetryingStore(open_plain(definition, credential, patience), patience, on_pause=on_pause)


def open_plain(definition: Definition, credential: Credential, patience: Patience) -> Store:
    """The store without wrappers; its module is imported when first asked for."""
    match definition:
        case BlobContainer() | DataLakeGen2():
            from datastores.storage.blob.store import open_blob

            return open_blob(definition, credential, patience)
        case FileShare():
            from datastores.storage.file_share import open_file_share

            return open_file_share(definition, credential, patience)
        case DataLakeGen1():
            from datastores.storage.webhdfs import open_gen1

            return open_gen1(definition, credential, patience)
        case FsspecUrl():
            from datastores.storage.anywhere import open_fsspec

            return open_fsspec(definition, credential, patience)
        case LocalFolder():
            return open_folder(definition.name, Path(definition.path))
        case Dbfs():
            return open_dbfs(definition, DBFS_ROOT)
        case Hdfs():
            raise Unsupported(
                definition.name,
                detail=(
                    "reaching HDFS takes Hadoop's Kerberos libraries, which this package does not "
                    "bring; mount it on the node (HDFS NFS gateway or hadoop-fuse-dfs) and "
                    "register the folder, or copy the data to a blob container"
                ),
            )
    raise Unsupported(definition.name, detail=_why_not(definition))


def open_folder(label: str, root: Path) -> Store:
    """A local folder as a store."""
    from datastores.storage.local import LocalStore

    return renewed(LocalStore(label, root))


def open_dbfs(definition: Dbfs, root: Path) -> Store:
    """The Databricks file system, where a node has it at `root`."""
    if not root.is_dir():
        raise Unsupported(
            definition.name,
            detail=(
                f"DBFS exists on Databricks nodes only, and there is no {root} here; run the job "
                "on a Databricks cluster, or register the storage account behind it"
            ),
        )
    return open_folder(definition.name, root)


def _why_not(definition: Definition) -> str:
    if definition.holds == "rows":
        return "it holds rows, not files; use a query, for instance DataPath(datastore, query)"
    return f'no store opens "{definition.kind}"; upgrade this package'
