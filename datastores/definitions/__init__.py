"""What a datastore is, as the workspace remembers it: pure values, no secrets, no I/O."""

from datastores.definitions.anywhere import FsspecUrl, LocalFolder
from datastores.definitions.azure_storage import BlobContainer, DataLakeGen2, FileShare
from datastores.definitions.data_lake_gen1 import DataLakeGen1
from datastores.definitions.databases import MySql, PostgreSql, SqlDatabase
from datastores.definitions.definition import Definition, from_wire, to_wire
from datastores.definitions.hadoop import Dbfs, Hdfs

__all__ = [
    "BlobContainer",
    "DataLakeGen1",
    "DataLakeGen2",
    "Dbfs",
    "Definition",
    "FileShare",
    "FsspecUrl",
    "Hdfs",
    "LocalFolder",
    "MySql",
    "PostgreSql",
    "SqlDatabase",
    "from_wire",
    "to_wire",
]
