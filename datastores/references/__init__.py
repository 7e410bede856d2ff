"""What a script carries in place of data: a place in a datastore and how a job sees it."""

from datastores.references.configuration import DataReferenceConfiguration
from datastores.references.data_path import DataPath, DataPathComputeBinding
from datastores.references.data_reference import DataReference
from datastores.references.naming import VARIABLE_PREFIX, collect
from datastores.references.sql_reference import SqlDataReference

__all__ = [
    "VARIABLE_PREFIX",
    "DataPath",
    "DataPathComputeBinding",
    "DataReference",
    "DataReferenceConfiguration",
    "SqlDataReference",
    "collect",
]
