"""Training data in Azure storage as plain files on a compute node, and results back in storage."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datastores.catalog.abstract import AbstractDatastore as AbstractDatastore
    from datastores.catalog.datastore import Datastore as Datastore
    from datastores.catalog.workspace import Workspace as Workspace
    from datastores.errors import DatastoresError as DatastoresError
    from datastores.history.experiment import Experiment as Experiment
    from datastores.history.experiment import ViewType as ViewType
    from datastores.history.model import Model as Model
    from datastores.history.run import Run as Run
    from datastores.references import DataPath as DataPath
    from datastores.references import DataPathComputeBinding as DataPathComputeBinding
    from datastores.references import DataReference as DataReference
    from datastores.references import DataReferenceConfiguration as DataReferenceConfiguration
    from datastores.references import SqlDataReference as SqlDataReference
    from datastores.runs import CondaDependencies as CondaDependencies
    from datastores.runs import DataTransferStep as DataTransferStep
    from datastores.runs import Environment as Environment
    from datastores.runs import Estimator as Estimator
    from datastores.runs import EstimatorStep as EstimatorStep
    from datastores.runs import InputPortBinding as InputPortBinding
    from datastores.runs import OutputPortBinding as OutputPortBinding
    from datastores.runs import PipelineData as PipelineData
    from datastores.runs import PythonScriptStep as PythonScriptStep
    from datastores.runs import RunConfiguration as RunConfiguration
    from datastores.runs import ScriptRunConfig as ScriptRunConfig
    from datastores.secret import Secret as Secret
    from datastores.submission import Pipeline as Pipeline

# Loaded at first use, so that `import datastores` costs next to nothing.
_HOMES = {
    "AbstractDatastore": "datastores.catalog.abstract",
    "CondaDependencies": "datastores.runs",
    "DataPath": "datastores.references",
    "DataPathComputeBinding": "datastores.references",
    "DataReference": "datastores.references",
    "DataReferenceConfiguration": "datastores.references",
    "DataTransferStep": "datastores.runs",
    "Datastore": "datastores.catalog.datastore",
    "DatastoresError": "datastores.errors",
    "Environment": "datastores.runs",
    "Estimator": "datastores.runs",
    "EstimatorStep": "datastores.runs",
    "Experiment": "datastores.history.experiment",
    "InputPortBinding": "datastores.runs",
    "OutputPortBinding": "datastores.runs",
    "Model": "datastores.history.model",
    "Pipeline": "datastores.submission",
    "PipelineData": "datastores.runs",
    "PythonScriptStep": "datastores.runs",
    "Run": "datastores.history.run",
    "RunConfiguration": "datastores.runs",
    "ScriptRunConfig": "datastores.runs",
    "Secret": "datastores.secret",
    "SqlDataReference": "datastores.references",
    "ViewType": "datastores.history.experiment",
    "Workspace": "datastores.catalog.workspace",
}

__all__ = [
    "AbstractDatastore",
    "CondaDependencies",
    "DataPath",
    "DataPathComputeBinding",
    "DataReference",
    "DataReferenceConfiguration",
    "DataTransferStep",
    "Datastore",
    "DatastoresError",
    "Environment",
    "Estimator",
    "EstimatorStep",
    "Experiment",
    "InputPortBinding",
    "Model",
    "OutputPortBinding",
    "Pipeline",
    "PipelineData",
    "PythonScriptStep",
    "Run",
    "RunConfiguration",
    "ScriptRunConfig",
    "Secret",
    "SqlDataReference",
    "ViewType",
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
