"""The small sections of a run configuration, with Azure ML's names and defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datastores.errors import DefinitionRejected
from datastores.runs.sections import Section


@dataclass(slots=True)
class HistoryConfiguration(Section):
    """What is kept of a run."""

    output_collection: bool = True
    snapshot_project: bool = True
    directories_to_watch: list[str] = field(default_factory=lambda: ["logs"])


@dataclass(slots=True)
class SparkConfiguration(Section):
    """Settings for Spark."""

    configuration: dict[str, Any] = field(
        default_factory=lambda: {
            "spark.app.name": "Azure ML Experiment",
            "spark.yarn.maxAppAttempts": 1,
        }
    )


@dataclass(slots=True)
class DockerConfiguration(Section):
    """Settings of the container, where one is used."""

    use_docker: bool = False
    shared_volumes: bool = True
    arguments: list[Any] = field(default_factory=list)
    shm_size: str | None = "2g"


@dataclass(slots=True)
class HdiConfiguration(Section):
    """Settings for HDInsight."""

    yarn_deploy_mode: str = "cluster"


@dataclass(slots=True)
class TensorflowConfiguration(Section):
    """TensorFlow on several nodes."""

    worker_count: int = 1
    parameter_server_count: int = 1


@dataclass(slots=True)
class MpiConfiguration(Section):
    """MPI on several processes or nodes."""

    process_count_per_node: int = 1
    node_count: int = 1


@dataclass(slots=True)
class PyTorchConfiguration(Section):
    """PyTorch on several nodes; the backend is "nccl" or "gloo"."""

    communication_backend: str = "Nccl"
    process_count: int | None = None
    node_count: int = 1

    def settle(self) -> None:
        self.communication_backend = self.communication_backend.lower()
        if self.communication_backend not in ("nccl", "gloo"):
            raise DefinitionRejected(
                "PyTorchConfiguration",
                f'communication backend "{self.communication_backend}" is unknown; '
                f'use "nccl" or "gloo"',
            )


@dataclass(slots=True)
class ParallelTaskConfiguration(Section):
    """Tasks on several workers."""

    max_retries_per_worker: int = 0
    worker_count_per_node: int = 1
    terminal_exit_codes: list[int] | None = None


@dataclass(slots=True)
class AmlComputeConfiguration(Section):
    """A compute that is made for the run."""

    vm_size: str | None = None
    vm_priority: str | None = None
    retain_cluster: bool = False
    name: str | None = None
    cluster_max_node_count: int | None = None


@dataclass(slots=True)
class KubernetesComputeConfiguration(Section):
    """Settings for a Kubernetes cluster."""

    instance_type: str | None = None
