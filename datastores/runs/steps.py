"""The steps of a pipeline: what each reads, writes and starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datastores.errors import DefinitionRejected
from datastores.references import VARIABLE_PREFIX, DataReference
from datastores.runs.estimator import Estimator
from datastores.runs.ports import (
    Input,
    InputPortBinding,
    Output,
    OutputPortBinding,
    PipelineData,
    parse_port,
    port_name,
    source_of,
)
from datastores.runs.run_configuration import RunConfiguration
from datastores.runs.sections import clone


class Step:
    """A part of a pipeline: it starts when everything it reads has been written."""

    def __init__(
        self,
        name: str | None,
        inputs: Sequence[Input] | None = None,
        outputs: Sequence[Output] | None = None,
    ) -> None:
        if not name:
            raise DefinitionRejected("step", "it has no name; give one with name=")
        self.name = name
        self.inputs = _checked(name, "input", inputs, (DataReference, InputPortBinding))
        self.outputs = _checked(name, "output", outputs, ())
        self.before: list[Step] = []

    def run_after(self, step: Step) -> None:
        """Wait for another step even though nothing of it is read."""
        self.before.append(step)

    def __repr__(self) -> str:
        return f'{type(self).__name__}("{self.name}")'


class ScriptStep(Step):
    """A step that starts a script; subclasses say from what."""

    arguments: list[Any]
    source_directory: str
    allow_reuse: bool

    def start(self) -> RunConfiguration:
        """The configuration without ports; the caller may change it."""
        raise NotImplementedError

    def named_inputs(self) -> dict[str, Input]:
        """Inputs by the name the script knows them by: one called like an output is renamed."""
        written = {port.name for port in self.outputs}
        found: dict[str, Input] = {}
        for port in self.inputs:
            name = parse_port("input", port_name(port))
            name = f"INPUT_{name}" if name in written else name
            if name in found or name in written:
                raise DefinitionRejected(
                    self.name, f'two of its ports are called "{name}"; rename one with as_input()'
                )
            found[name] = port
        return found

    def texts(self) -> list[Any]:
        """The arguments with ports replaced by what stands for their paths."""
        renamed = {id(port): name for name, port in self.named_inputs().items()}
        renamed |= {id(source_of(port)): name for name, port in self.named_inputs().items()}
        renamed |= {id(port): port.name for port in self.outputs}
        return [
            f"${VARIABLE_PREFIX}{renamed[id(one)]}" if id(one) in renamed else one
            for one in self.arguments
        ]

    def _settle_ports(self) -> None:
        """Add references of the arguments to the inputs, and refuse what nobody declared."""
        declared = {id(port) for port in (*self.inputs, *self.outputs)}
        declared |= {id(source_of(port)) for port in self.inputs}
        for one in self.arguments:
            if id(one) in declared:
                continue
            if isinstance(one, DataReference | InputPortBinding):
                self.inputs.append(one)
                declared.add(id(one))
            elif isinstance(one, PipelineData | OutputPortBinding):
                raise DefinitionRejected(
                    self.name, f'"{one.name}" is an argument; add it to inputs or to outputs'
                )
        names = [port.name for port in self.outputs]
        for name in names:
            if names.count(name) > 1:
                raise DefinitionRejected(self.name, f'two outputs are called "{name}"; rename one')
        self.named_inputs()


class PythonScriptStep(ScriptStep):
    """A Python script."""

    def __init__(
        self,
        script_name: str,
        name: str | None = None,
        arguments: Sequence[Any] | None = None,
        compute_target: Any = None,
        runconfig: RunConfiguration | None = None,
        runconfig_pipeline_params: Mapping[str, Any] | None = None,
        inputs: Sequence[Input] | None = None,
        outputs: Sequence[Output] | None = None,
        params: Mapping[str, Any] | None = None,
        source_directory: str | None = None,
        allow_reuse: bool = True,
        version: str | None = None,
        hash_paths: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name or script_name, inputs, outputs)
        self.script_name, self.compute_target = script_name, compute_target
        self.arguments = list(arguments or ())
        self.source_directory = source_directory or "."
        self.params = dict(params or {})
        self.allow_reuse, self.version, self.hash_paths = allow_reuse, version, hash_paths
        self._runconfig = runconfig
        self._settings = dict(runconfig_pipeline_params or {})
        self._settle_ports()

    def start(self) -> RunConfiguration:
        made: RunConfiguration = clone(self._runconfig) if self._runconfig else RunConfiguration()
        made.script, made.command = self.script_name, ""
        if self.compute_target is not None:
            made.target = self.compute_target
        for name, value in self._settings.items():
            setattr(made, name, value)
        made.environment_variables |= {
            f"AML_PARAMETER_{_word(name)}": str(value) for name, value in self.params.items()
        }
        return made


class EstimatorStep(ScriptStep):
    """An estimator's script. References the estimator has are kept; the original dropped them."""

    def __init__(
        self,
        name: str | None = None,
        estimator: Estimator | None = None,
        estimator_entry_script_arguments: Sequence[Any] | None = None,
        runconfig_pipeline_params: Mapping[str, Any] | None = None,
        inputs: Sequence[Input] | None = None,
        outputs: Sequence[Output] | None = None,
        compute_target: Any = None,
        allow_reuse: bool = True,
        version: str | None = None,
    ) -> None:
        label = name or "EstimatorStep"
        if estimator is None:
            raise DefinitionRejected(label, "estimator is required")
        if compute_target is None:
            raise DefinitionRejected(label, 'compute_target is required, for instance "local"')
        if estimator.script_params:
            raise DefinitionRejected(
                label,
                "the estimator has script_params; give estimator_entry_script_arguments instead",
            )
        if estimator_entry_script_arguments is None:
            raise DefinitionRejected(
                label, "estimator_entry_script_arguments is required; [] means none"
            )
        super().__init__(name or estimator.run_config.script, inputs, outputs)
        self.estimator, self.compute_target = estimator, compute_target
        self.arguments = list(estimator_entry_script_arguments)
        self.source_directory = estimator.source_directory
        self.allow_reuse, self.version = allow_reuse, version
        self._settings = dict(runconfig_pipeline_params or {})
        self._settle_ports()

    def start(self) -> RunConfiguration:
        made = self.estimator.configured()
        made.target = self.compute_target
        for name, value in self._settings.items():
            setattr(made, name, value)
        return made


class DataTransferStep(Step):
    """Copies from store to store."""

    def __init__(
        self,
        name: str,
        source_data_reference: Input | None = None,
        destination_data_reference: DataReference | PipelineData | None = None,
        compute_target: Any = None,
        source_reference_type: str | None = None,
        destination_reference_type: str | None = None,
        allow_reuse: bool = True,
    ) -> None:
        if source_data_reference is None or destination_data_reference is None:
            raise DefinitionRejected(name, "source and destination data references are required")
        if compute_target is None:
            raise DefinitionRejected(name, 'compute_target is required, for instance "local"')
        self.source, self.destination = source_data_reference, destination_data_reference
        self.compute_target, self.allow_reuse = compute_target, allow_reuse
        self.source_type = _reference_type(name, source_reference_type)
        self.destination_type = _reference_type(name, destination_reference_type)
        if isinstance(self.destination, PipelineData):
            self._output = self.destination
        else:
            self._output = PipelineData("_data_transfer_output", self.destination.datastore)
        super().__init__(name, [source_data_reference], [self._output])

    def get_output(self) -> PipelineData:
        """What was copied, for the steps that read it."""
        return self._output


def _checked(
    step: str, noun: str, given: Sequence[Any] | None, more: tuple[type, ...]
) -> list[Any]:
    for one in given or ():
        if not isinstance(one, (PipelineData, OutputPortBinding, *more)):
            shown = getattr(one, "name", None) or str(one)
            raise DefinitionRejected(
                step,
                f'"{shown}" ({type(one).__name__}) cannot be an {noun}; use PipelineData'
                + (" or datastore.path(...)" if more else ""),
            )
    return list(given or ())


def _reference_type(step: str, given: str | None) -> str | None:
    lowered = given.lower() if given else None
    if lowered not in (None, "file", "directory"):
        raise DefinitionRejected(
            step, f'reference type "{given}" is unknown; use "file" or "directory"'
        )
    return lowered


def _word(name: str) -> str:
    return "".join(mark if mark.isalnum() or mark == "_" else "_" for mark in name)
