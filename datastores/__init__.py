"""Training data in Azure storage as plain files on a compute node, and results back in storage."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datastores.catalog.abstract import AbstractDatastore as AbstractDatastore
    from datastores.catalog.datastore import Datastore as Datastore
    from datastores.catalog.workspace import Workspace as Workspace
    from datastores.errors import DatastoresError as DatastoresError
    from datastores.references import DataPath as DataPath
    from datastores.references import DataReference as DataReference
    from datastores.references import SqlDataReference as SqlDataReference
    from datastores.secret import Secret as Secret

# Loaded at first use, so that `import datastores` costs next to nothing.
_HOMES = {
    "AbstractDatastore": "datastores.catalog.abstract",
    "DataPath": "datastores.references",
    "DataPathComputeBinding": "datastores.references",
    "DataReference": "datastores.references",
    "DataReferenceConfiguration": "datastores.references",
    "Datastore": "datastores.catalog.datastore",
    "DatastoresError": "datastores.errors",
    "Secret": "datastores.secret",
    "SqlDataReference": "datastores.references",
    "Workspace": "datastores.catalog.workspace",
}

__all__ = [  # noqa: PLE0604, RUF100  # the names above, sorted
    "AbstractDatastore",
    "DataPath",
    "DataPathComputeBinding",
    "DataReference",
    "DataReferenceConfiguration",
    "Datastore",
    "DatastoresError",
    "Secret",
    "SqlDataReference",
    "Workspace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'datastores' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
