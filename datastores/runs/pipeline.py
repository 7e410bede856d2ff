"""The order of steps, and where what they pass on lies. Pure."""

from __future__ import annotations

import graphlib
import urllib.parse
from collections.abc import Mapping, Sequence

from datastores.errors import DefinitionRejected
from datastores.keys import join, parse_place
from datastores.references import DataReference
from datastores.runs.arguments import stored
from datastores.runs.data import (
    Data,
    DataLocation,
    DataPath,
    OutputData,
    OutputOptions,
    UploadOptions,
)
from datastores.runs.ports import (
    Input,
    InputPortBinding,
    Output,
    OutputPortBinding,
    PipelineData,
    port_name,
    source_of,
)
from datastores.runs.run_configuration import RunConfiguration
from datastores.runs.steps import DataTransferStep, ScriptStep, Step
from datastores.value import Value


class StoredAt(Value):
    """A place in a datastore."""

    datastore: str
    place: str


def plan_steps(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Steps in layers: those of one layer need nothing of each other, and all of earlier ones."""
    by_name: dict[str, Step] = {}
    for step in steps:
        if by_name.setdefault(step.name, step) is not step:
            raise DefinitionRejected(step.name, "two steps have this name; give one with name=")
    sorter = graphlib.TopologicalSorter(needs_of(steps))
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = '" -> "'.join(error.args[1])
        raise DefinitionRejected(
            error.args[1][0], f'steps wait for each other: "{circle}"; break the circle'
        ) from error
    layers: list[tuple[Step, ...]] = []
    while sorter.is_active():
        ready = set(sorter.get_ready())
        layers.append(tuple(step for step in steps if step.name in ready))
        sorter.done(*ready)
    return layers


def needs_of(steps: Sequence[Step]) -> Mapping[str, list[str]]:
    """The names of the steps that each step waits for."""
    writers = _writers(steps)
    found: dict[str, list[str]] = {}
    for step in steps:
        needed = found.setdefault(step.name, [])
        for earlier in step.before:
            if earlier not in steps:
                raise DefinitionRejected(
                    step.name, f'it runs after "{earlier.name}", which is not among the steps'
                )
            needed.append(earlier.name)
        for port in step.inputs:
            source = source_of(port)
            if isinstance(source, DataReference):
                continue
            if id(source) not in writers:
                raise DefinitionRejected(
                    step.name,
                    f'it reads "{port_name(port)}" and no step writes it; '
                    f"add it to the outputs of one",
                )
            needed.append(writers[id(source)].name)
    return found


def intermediate_place(run_id: str, step: str, port: str) -> str:
    """Where a step of a pipeline run leaves what it writes to a port."""
    # Step names may be any text, and no two may meet in one folder.
    return parse_place(join("azureml", run_id, urllib.parse.quote(step, safe=""), port))


def manifest_beside(place: str) -> str:
    """The key of the manifest of such a place: beside it, so that no reader takes it for data."""
    return f"{place}._manifest.json"


def locate(
    port: Input, steps: Sequence[Step], *, run_id: str, default_datastore: str | None = None
) -> StoredAt:
    """Where the data of a port lies in this run."""
    source = source_of(port)
    if isinstance(source, DataReference):
        return StoredAt(str(source.datastore.name), source.place)
    writer = _writers(steps).get(id(source))
    if writer is None:
        raise DefinitionRejected(source.name, "no step writes it; add it to the outputs of one")
    if isinstance(writer, DataTransferStep) and isinstance(writer.destination, DataReference):
        return locate(writer.destination, steps, run_id=run_id)
    datastore = getattr(source.datastore, "name", source.datastore) or default_datastore
    if datastore is None:
        raise DefinitionRejected(
            source.name, "it has no datastore and there is no default; give PipelineData one"
        )
    return StoredAt(str(datastore), intermediate_place(run_id, writer.name, source.output_name))


def configure_step(
    step: Step, steps: Sequence[Step], *, run_id: str, default_datastore: str | None = None
) -> RunConfiguration:
    """The run configuration of a script step, its ports filled in; ready for `plan_job`."""
    if not isinstance(step, ScriptStep):
        raise DefinitionRejected(step.name, "it starts no script; copy its data with transfer")
    made = step.start()
    made.arguments = [*made.arguments, *step.texts()]
    for name, port in step.named_inputs().items():
        if isinstance(port, DataReference):
            entry = stored(port)
            if made.data_references.setdefault(name, entry) != entry:
                raise DefinitionRejected(
                    name,
                    f'step "{step.name}" and its estimator have two references of this name'
                    "; rename one",
                )
        else:
            at = locate(port, steps, run_id=run_id, default_datastore=default_datastore)
            made.data[name] = _input(port, at)
    for output in step.outputs:
        at = locate(output, steps, run_id=run_id, default_datastore=default_datastore)
        made.output_data[output.name] = _output(output, at)
    return made


def _writers(steps: Sequence[Step]) -> dict[int, Step]:
    found: dict[int, Step] = {}
    for step in steps:
        for output in step.outputs:
            other = found.setdefault(id(output), step)
            if other is not step:
                raise DefinitionRejected(
                    output.name,
                    f'steps "{other.name}" and "{step.name}" both write it; '
                    f"give each PipelineData of its own",
                )
    return found


def _input(port: Output | InputPortBinding, at: StoredAt) -> Data:
    location = DataLocation(data_path=DataPath(at.datastore, at.place))
    if not isinstance(port, InputPortBinding):
        return Data(location, mechanism="mount")
    return Data(
        location,
        mechanism=port.bind_mode,
        path_on_compute=port.path_on_compute,
        overwrite=bool(port.overwrite),
    )


def _output(port: Output, at: StoredAt) -> OutputData:
    match port:
        case PipelineData():
            mode, path, overwrite = (
                port.output_mode,
                port.output_path_on_compute,
                port.output_overwrite,
            )
        case OutputPortBinding():
            mode, path, overwrite = port.bind_mode, port.path_on_compute, port.overwrite
    return OutputData(
        DataLocation(data_path=DataPath(at.datastore, at.place)),
        mode,
        OutputOptions(path, upload_options=UploadOptions(overwrite=bool(overwrite))),
    )
