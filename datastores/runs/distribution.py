"""How a run is spread over processes and nodes, written into its configuration."""

from __future__ import annotations

from typing import Any

from datastores.errors import DefinitionRejected
from datastores.runs.run_configuration import RunConfiguration
from datastores.runs.settings import MpiConfiguration, PyTorchConfiguration, TensorflowConfiguration


def distribute(configuration: RunConfiguration, job: Any) -> None:
    """Set framework, communicator and node count as the distributed job asks for."""
    match job:
        case TensorflowConfiguration():
            configuration.framework, configuration.communicator = "TensorFlow", "ParameterServer"
            configuration.tensorflow, configuration.node_count = job, job.worker_count
        case MpiConfiguration():
            configuration.framework, configuration.communicator = "Python", "IntelMpi"
            configuration.mpi, configuration.node_count = job, job.node_count
        case PyTorchConfiguration():
            configuration.framework = "PyTorch"
            configuration.communicator = job.communication_backend
            configuration.pytorch, configuration.node_count = job, job.node_count
        case _:
            raise DefinitionRejected(
                "distributed_job_config",
                f"{type(job).__name__} is unknown; use MpiConfiguration, PyTorchConfiguration or "
                f"TensorflowConfiguration",
            )
