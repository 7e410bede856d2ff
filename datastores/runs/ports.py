"""Data that goes from step to step of a pipeline, and how a step is bound to it."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from datastores.errors import DefinitionRejected, NameRejected
from datastores.references import VARIABLE_PREFIX, DataReference


class _Port:
    """Something a step names; its text is `$AZUREML_DATAREFERENCE_<name>`."""

    noun = "port"

    def __init__(self, name: str) -> None:
        self.name = parse_port(self.noun, name)

    def get_env_variable_name(self) -> str:
        """What stands for the path in arguments."""
        return f"${VARIABLE_PREFIX}{self.name}"

    __str__ = __repr__ = get_env_variable_name


class PipelineData(_Port):
    """What one step writes and others read; it lies in a datastore, in a folder of the run."""

    noun = "pipeline data"

    def __init__(
        self,
        name: str,
        datastore: Any = None,
        output_name: str | None = None,
        output_mode: str = "mount",
        output_path_on_compute: str | None = None,
        output_overwrite: bool | None = None,
        data_type: str | None = None,
        is_directory: bool | None = None,
        pipeline_output_name: str | None = None,
        training_output: object = None,
    ) -> None:
        super().__init__(name)
        self.datastore = datastore
        self.output_name = parse_port(self.noun, name if output_name is None else output_name)
        self.output_mode = _mode(name, output_mode, ("mount", "upload"))
        self.output_path_on_compute = output_path_on_compute
        self.output_overwrite = output_overwrite
        self.data_type, self.is_directory = data_type, is_directory
        self.pipeline_output_name, self.training_output = pipeline_output_name, training_output

    def as_download(
        self,
        input_name: str | None = None,
        path_on_compute: str | None = None,
        overwrite: bool | None = None,
    ) -> InputPortBinding:
        """The data, downloaded before the reading step starts."""
        return self.create_input_binding(input_name, "download", path_on_compute, overwrite)

    def as_mount(self, input_name: str | None = None) -> InputPortBinding:
        """The data, mounted for the reading step."""
        return self.create_input_binding(input_name)

    def as_input(self, input_name: str) -> InputPortBinding:
        """The data under another name."""
        return self.create_input_binding(input_name)

    def create_input_binding(
        self,
        input_name: str | None = None,
        mode: str = "mount",
        path_on_compute: str | None = None,
        overwrite: bool | None = None,
    ) -> InputPortBinding:
        """How a step reads this data."""
        return InputPortBinding(input_name or self.name, self, mode, path_on_compute, overwrite)


class InputPortBinding(_Port):
    """How a step reads data under a name of its own."""

    noun = "input"

    def __init__(
        self,
        name: str,
        bind_object: PipelineData | OutputPortBinding | DataReference | None = None,
        bind_mode: str = "mount",
        path_on_compute: str | None = None,
        overwrite: bool | None = None,
        is_resource: bool = False,
        additional_transformations: object = None,
    ) -> None:
        super().__init__(name)
        if not isinstance(bind_object, PipelineData | OutputPortBinding | DataReference):
            raise DefinitionRejected(
                name,
                f"an input cannot be bound to a {type(bind_object).__name__}; "
                f"give PipelineData or a DataReference",
            )
        self.bind_object = bind_object
        self.bind_mode = _mode(name, bind_mode, ("mount", "download", "direct", "hdfs"))
        self.path_on_compute, self.overwrite = path_on_compute, overwrite
        self.is_resource = is_resource
        self.additional_transformations = additional_transformations


class OutputPortBinding(_Port):
    """How a step writes data."""

    noun = "output"

    def __init__(
        self,
        name: str,
        datastore: Any = None,
        output_name: str | None = None,
        bind_mode: str = "mount",
        path_on_compute: str | None = None,
        is_directory: bool | None = None,
        overwrite: bool | None = None,
        data_type: str | None = None,
        pipeline_output_name: str | None = None,
        training_output: object = None,
        dataset_registration: object = None,
        dataset_output: object = None,
    ) -> None:
        super().__init__(name)
        self.datastore = datastore
        self.output_name = parse_port(self.noun, name if output_name is None else output_name)
        self.bind_mode = _mode(name, bind_mode, ("mount", "upload", "hdfs", "link"))
        self.path_on_compute, self.overwrite = path_on_compute, overwrite
        self.is_directory, self.data_type = is_directory, data_type
        self.pipeline_output_name, self.training_output = pipeline_output_name, training_output
        self.dataset_registration = dataset_registration
        self.dataset_output = dataset_output


Output: TypeAlias = PipelineData | OutputPortBinding
Input: TypeAlias = Output | InputPortBinding | DataReference


def source_of(port: Input) -> Output | DataReference:
    """What an input reads in the end."""
    return port.bind_object if isinstance(port, InputPortBinding) else port


def port_name(port: Input) -> str:
    """What a step calls the port."""
    return port.data_reference_name if isinstance(port, DataReference) else port.name


def parse_port(noun: str, name: str) -> str:
    """The name, if it is made of letters, digits and underscores."""
    if not name or re.search(r"\W", name):
        raise NameRejected(noun, name, "use letters, digits and underscores")
    return name


def _mode(name: str, mode: str, known: tuple[str, ...]) -> str:
    if mode not in known:
        choices = ", ".join(f'"{one}"' for one in known)
        raise DefinitionRejected(name, f'mode "{mode}" is unknown; use one of {choices}')
    return mode
