"""Which class of object stands for which kind of definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datastores.catalog import file_datastores as files
from datastores.catalog import row_datastores as rows
from datastores.catalog.abstract import AbstractDatastore

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.registry.records import DatastoreRecord

CLASSES: dict[str, type[AbstractDatastore]] = {
    "AzureBlob": files.AzureBlobDatastore,
    "AzureFile": files.AzureFileDatastore,
    "AzureDataLake": files.AzureDataLakeDatastore,
    "AzureDataLakeGen2": files.AzureDataLakeGen2Datastore,
    "AzureSqlDatabase": rows.AzureSqlDatabaseDatastore,
    "AzurePostgreSql": rows.AzurePostgreSqlDatastore,
    "AzureMySql": rows.AzureMySqlDatastore,
    "DBFS": files.DBFSDatastore,
    "Hdfs": files.HDFSDatastore,
    "Fsspec": files.FsspecDatastore,
    "Local": files.LocalDatastore,
}


def attach(workspace: Workspace, record: DatastoreRecord) -> AbstractDatastore:
    """The object for a record."""
    return CLASSES[record.definition.kind](workspace, record)
