"""`Estimator`: a script with its parameters and inputs, as one object to submit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datastores.catalog.abstract import AbstractDatastore
from datastores.errors import ConfigRejected, DefinitionRejected
from datastores.references import DataPath
from datastores.runs import configuration_file
from datastores.runs.arguments import flatten, gathered, input_references, live_reference, stored
from datastores.runs.conda import CondaDependencies
from datastores.runs.distribution import distribute
from datastores.runs.environment import ContainerRegistry, Environment
from datastores.runs.run_configuration import RunConfiguration
from datastores.runs.script_run_config import resume
from datastores.runs.sections import clone
from datastores.runs.settings import MpiConfiguration

# Targets on which several nodes make sense.
_CLUSTERS = ("AmlCompute", "Kubernetes")


class Estimator:
    """A script to train; nothing starts before it is submitted.

    `script_params` become arguments in order; references in them, and in `inputs`, become
    `data_references`. The caller's mappings and lists are not changed.
    """

    def __init__(
        self,
        source_directory: str | os.PathLike[str],
        *,
        compute_target: Any = None,
        vm_size: str | None = None,
        vm_priority: str | None = None,
        entry_script: str | None = None,
        script_params: Mapping[Any, Any] | None = None,
        node_count: int = 1,
        process_count_per_node: int = 1,
        distributed_backend: str | None = None,
        distributed_training: MpiConfiguration | None = None,
        use_gpu: bool = False,
        use_docker: bool = True,
        custom_docker_base_image: str | None = None,
        custom_docker_image: str | None = None,
        image_registry_details: ContainerRegistry | None = None,
        user_managed: bool = False,
        conda_packages: Sequence[str] | None = None,
        pip_packages: Sequence[str] | None = None,
        conda_dependencies_file_path: str | None = None,
        pip_requirements_file_path: str | None = None,
        conda_dependencies_file: str | None = None,
        pip_requirements_file: str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        environment_definition: Environment | None = None,
        inputs: Sequence[Any] | None = None,
        source_directory_data_store: AbstractDatastore | str | None = None,
        shm_size: str | None = None,
        resume_from: DataPath | None = None,
        max_run_duration_seconds: int | None = None,
        _disable_validation: bool = True,
        _show_lint_warnings: bool = False,
        _show_package_warnings: bool = False,
    ) -> None:
        image = custom_docker_image or custom_docker_base_image
        conda_file = conda_dependencies_file or conda_dependencies_file_path
        pip_file = pip_requirements_file or pip_requirements_file_path
        packages = bool(conda_packages or pip_packages or pip_file)
        settings = (packages, conda_file, image, environment_variables, use_gpu, user_managed)
        is_distributed = distributed_backend is not None or distributed_training is not None
        several = node_count > 1 or process_count_per_node > 1
        _refuse_first(
            (
                compute_target is None and vm_size is None,
                'give a compute_target, for instance "local", or a vm_size',
            ),
            (node_count < 1, f"node_count {node_count} is not positive"),
            (process_count_per_node < 1, "process_count_per_node is not positive"),
            (
                several and not is_distributed,
                "more than one node or process needs distributed_training=MpiConfiguration()",
            ),
            (
                node_count > 1 and not _is_cluster(compute_target, vm_size),
                f"{node_count} nodes need a cluster as compute_target, not its name",
            ),
            (
                distributed_backend not in (None, "mpi"),
                f'distributed_backend "{distributed_backend}" is unknown; use "mpi"',
            ),
            (
                environment_definition is not None and any(settings),
                "environment_definition says it all; give no packages, images or variables beside",
            ),
            (
                bool(conda_file) and packages,
                "give a conda file or packages, not both",
            ),
            (not use_docker and bool(image), "a custom image needs use_docker=True"),
            (
                user_managed and (packages or bool(conda_file)),
                "user_managed means that the packages are there; give none",
            ),
        )
        self._source_directory = os.fspath(source_directory)
        made = RunConfiguration(script=entry_script)
        made.target = "amlcompute" if compute_target is None else compute_target
        made.amlcompute.vm_size, made.amlcompute.vm_priority = vm_size, vm_priority
        made.node_count, made.max_run_duration_seconds = node_count, max_run_duration_seconds
        if is_distributed:
            job = distributed_training or MpiConfiguration(process_count_per_node, node_count)
            distribute(made, job)
        if environment_definition is not None:
            made.environment = clone(environment_definition)
        else:
            environment = made.environment
            environment.environment_variables = dict(environment_variables or {})
            environment.docker.enabled = use_docker
            environment.docker.base_image = image or environment.docker.base_image
            environment.docker.base_image_registry = image_registry_details or ContainerRegistry()
            environment.python.user_managed_dependencies = user_managed
            environment.python.conda_dependencies = self._packages(
                conda_file, pip_file, conda_packages, pip_packages
            )
        made.environment.docker.shm_size = shm_size or made.environment.docker.shm_size
        self._script_params = dict(script_params or {})
        self._inputs = inputs
        made.source_directory_data_store = source_directory_data_store  # type: ignore[assignment]  # keeps the name
        self._configuration, self._resume_from = made, resume_from
        self.configured()  # a mistake in inputs or parameters is refused here

    @property
    def source_directory(self) -> str:
        """The folder with the script."""
        return self._source_directory

    @property
    def run_config(self) -> RunConfiguration:
        """The configuration this stands for, made anew each time."""
        return self.configured()

    @property
    def conda_dependencies(self) -> CondaDependencies | None:
        """The packages of the environment."""
        return self._configuration.environment.python.conda_dependencies

    @property
    def script_params(self) -> dict[Any, Any]:
        """A copy of what was given."""
        return dict(self._script_params)

    def configured(
        self,
        script_params: Mapping[Any, Any] | None = None,
        inputs: Sequence[Any] | None = None,
        source_directory_data_store: AbstractDatastore | str | None = None,
        **others: Any,
    ) -> RunConfiguration:
        """The configuration to submit; what is given counts for this call and wins by name."""
        if others:
            raise DefinitionRejected(
                "submit",
                f'"{next(iter(others))}" cannot be given with an estimator; use script_params, '
                f"inputs or source_directory_data_store",
            )
        made: RunConfiguration = clone(self._configuration)
        if source_directory_data_store is not None:
            made.source_directory_data_store = source_directory_data_store  # type: ignore[assignment]  # keeps the name
        made.arguments = flatten({**self._script_params, **(script_params or {})})
        if self._resume_from is not None:
            resume(made, self._resume_from)
        in_arguments = [one for one in map(live_reference, made.arguments) if one is not None]
        own = gathered([*input_references(self._inputs), *in_arguments])
        entries = own | gathered(input_references(inputs))
        made.data_references = {name: stored(one) for name, one in entries.items()}
        return made.with_references()

    def _packages(
        self,
        conda_file: str | None,
        pip_file: str | None,
        conda_packages: Sequence[str] | None,
        pip_packages: Sequence[str] | None,
    ) -> CondaDependencies:
        folder = Path(self._source_directory)
        if conda_file:
            return configuration_file.read_conda(folder / conda_file)
        required = _requirements(folder / pip_file) if pip_file else []
        return CondaDependencies.create([*(pip_packages or ()), *required], conda_packages)


def _requirements(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRejected(str(file), f"cannot be read ({error}); correct the path") from error
    stripped = (line.split(" #")[0].strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]


def _is_cluster(target: Any, vm_size: str | None) -> bool:
    if target is None:
        return vm_size is not None
    return getattr(target, "type", None) in _CLUSTERS


def _refuse_first(*rules: tuple[bool, str]) -> None:
    for is_broken, reason in rules:
        if is_broken:
            raise DefinitionRejected("Estimator", reason)
