"""`RunConfiguration`: everything about a run but its files. Names and defaults are Azure ML's."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

from datastores.errors import ConfigRejected, NameRejected
from datastores.references import DataReferenceConfiguration
from datastores.references.naming import MODES
from datastores.runs import configuration_file
from datastores.runs.arguments import with_references
from datastores.runs.conda import CondaDependencies
from datastores.runs.data import Data, OutputData, SqlReferenceConfiguration
from datastores.runs.environment import Environment
from datastores.runs.sections import Section, clone, from_disk, key, to_disk
from datastores.runs.settings import (
    AmlComputeConfiguration,
    DockerConfiguration,
    HdiConfiguration,
    HistoryConfiguration,
    KubernetesComputeConfiguration,
    MpiConfiguration,
    ParallelTaskConfiguration,
    PyTorchConfiguration,
    SparkConfiguration,
    TensorflowConfiguration,
)

ReferenceConfiguration: TypeAlias = DataReferenceConfiguration | SqlReferenceConfiguration

# These two take an object and keep its name.
_NAMED = ("target", "source_directory_data_store")


@dataclass(init=False, slots=True, repr=False)
class RunConfiguration(Section):
    """Settings of a run, in the order of its file.

    `arguments` may hold references and datastores; they become `$AZUREML_DATAREFERENCE_<name>` and
    entries of `data_references` when the configuration is saved or planned.
    """

    script: str | None = None
    arguments: list[Any] = field(default_factory=list)
    target: str = "local"
    framework: str = "Python"
    communicator: str = "None"
    max_run_duration_seconds: int | None = None
    node_count: int = 1
    priority: int | None = None
    environment: Environment = field(default_factory=Environment)
    history: HistoryConfiguration = field(default_factory=HistoryConfiguration)
    spark: SparkConfiguration = field(default_factory=SparkConfiguration)
    docker: DockerConfiguration = field(default_factory=DockerConfiguration)
    hdi: HdiConfiguration = field(default_factory=HdiConfiguration)
    tensorflow: TensorflowConfiguration = field(default_factory=TensorflowConfiguration)
    mpi: MpiConfiguration = field(default_factory=MpiConfiguration)
    pytorch: PyTorchConfiguration = field(default_factory=PyTorchConfiguration)
    paralleltask: ParallelTaskConfiguration = field(default_factory=ParallelTaskConfiguration)
    data_references: dict[str, DataReferenceConfiguration | SqlReferenceConfiguration] = field(
        default_factory=dict
    )
    data: dict[str, Data] = field(default_factory=dict)
    datacaches: list[Any] = field(default_factory=list)
    output_data: dict[str, OutputData] = field(default_factory=dict)
    source_directory_data_store: str | None = None
    amlcompute: AmlComputeConfiguration = field(default_factory=AmlComputeConfiguration)
    auto_cluster_compute_specification: Any = None
    kubernetescompute: KubernetesComputeConfiguration = field(
        default_factory=KubernetesComputeConfiguration
    )
    credential_passthrough: bool = False
    command: str | list[str] = ""
    environment_variables: dict[str, str] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict, metadata=key("applicationEndpoints"))
    # The file it came from, to which `save()` without a path goes back.
    file: Path | None = field(default=None, compare=False, metadata=key(""))

    def __init__(
        self,
        script: str | None = None,
        arguments: list[Any] | None = None,
        framework: str | None = None,
        communicator: str | None = None,
        conda_dependencies: CondaDependencies | None = None,
        _history_enabled: bool | None = None,
        _path: str | os.PathLike[str] | None = None,
        _name: str | None = None,
        command: str | list[str] | None = None,
    ) -> None:
        for one in dataclasses.fields(self):
            made = one.default_factory
            setattr(self, one.name, one.default if made is dataclasses.MISSING else made())
        self.script, self.arguments = script, list(arguments or ())
        self.framework = framework or self.framework
        self.communicator = communicator or self.communicator
        self.command = command or self.command
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies
        if _history_enabled is not None:
            self.history.output_collection = _history_enabled
        if _path is not None:
            self.file = configuration_file.place(Path(_path), _name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NAMED and value is not None:
            value = getattr(value, "name", value)
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = to_disk(self.with_references())
        conda = self.environment.python.conda_dependencies
        shown["environment"]["python"]["condaDependencies"] = conda and conda.structure
        return json.dumps(shown, indent=4, default=str)

    def with_references(self) -> RunConfiguration:
        """A copy whose arguments are texts and numbers; the references in them are entries."""
        copy: RunConfiguration = clone(self)
        copy.arguments, copy.data_references = with_references(self.arguments, self.data_references)
        if isinstance(self.command, list):
            command, copy.data_references = with_references(self.command, copy.data_references)
            copy.command = [str(one) for one in command]
        return copy

    def save(
        self,
        path: str | os.PathLike[str] | None = None,
        name: str | None = None,
        separate_environment_yaml: bool = False,
    ) -> Path:
        """Write the file, and the conda packages beside it; folders are made as needed.

        `path` with a name is a project's folder: the file is `.azureml/<name>` in it. Without a
        name it is the file; without either, the file that was loaded. The environment can go to
        a file of its own, `environment.yml`.
        """
        if path is None and name is None and self.file is not None:
            file = self.file
        else:
            file = configuration_file.place(Path(path or "."), name)
        prepared = self.with_references()
        python = prepared.environment.python
        if python.conda_dependencies is not None:
            packages = file.parent / configuration_file.CONDA_FILE
            python.conda_dependencies_file = _relative(packages, file)
            configuration_file.write(packages, python.conda_dependencies.structure)
        values = to_disk(prepared, reveal=True)
        if separate_environment_yaml:
            apart = file.parent / "environment.yml"
            configuration_file.write(apart, values["environment"])
            values["environment"] = _relative(apart, file)
        configuration_file.write(file, values)
        return file

    @classmethod
    def load(cls, path: str | os.PathLike[str], name: str | None = None) -> Self:
        """The configuration of a file, or of this name in a project's folder."""
        file = configuration_file.find(Path(path), name)
        project = configuration_file.project_folder(file)
        values = configuration_file.read(file)
        if isinstance(values, dict) and isinstance(values.get("environment"), str):
            apart = configuration_file.read(project / values["environment"])
            values = values | {"environment": apart}
        found: Self = from_disk(cls, values, str(file))
        _check_references(found, str(file))
        python = found.environment.python
        packages = project / (python.conda_dependencies_file or "")
        is_there = bool(python.conda_dependencies_file) and packages.is_file()
        python.conda_dependencies = configuration_file.read_conda(packages) if is_there else None
        found.file = file
        return found

    @staticmethod
    def delete(path: str | os.PathLike[str], name: str) -> None:
        """Remove the file of a configuration; its conda file stays, others may share it."""
        configuration_file.find(Path(path), name).unlink()


def _relative(file: Path, configuration: Path) -> str:
    return file.relative_to(configuration_file.project_folder(configuration)).as_posix()


def _check_references(found: RunConfiguration, file: str) -> None:
    for name, one in found.data_references.items():
        one.mode = one.mode.lower()
        if any(mark in name for mark in "=\0\n"):
            rule = 'it cannot hold "=", NUL or a line end'
            raise ConfigRejected(file, str(NameRejected("data reference", name, rule)))
        if not one.data_store_name:
            raise ConfigRejected(
                file, f'"dataReferences.{name}" names no datastore; add "dataStoreName"'
            )
        if one.mode not in MODES:
            raise ConfigRejected(
                file,
                f'"dataReferences.{name}.mode" is "{one.mode}"; '
                f'use "mount", "download" or "upload"',
            )
