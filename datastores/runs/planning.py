"""From a run configuration to a job spec. Pure: what is wrong is said before anything moves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TypeVar

from datastores.contract import (
    Command,
    InputSpec,
    JobSpec,
    LeaseSpec,
    Limits,
    OutputSpec,
    RowsSpec,
    Script,
    SnapshotSource,
    When,
    lay_out,
)
from datastores.contract.job import Reference, Source, Work
from datastores.credentials.leases import Access
from datastores.definitions import Definition, to_wire
from datastores.errors import DefinitionRejected, NameRejected
from datastores.keys import join
from datastores.runs.data import Data
from datastores.runs.planned_data import Defined, KnownDatastores, PlannedData
from datastores.runs.run_configuration import RunConfiguration
from datastores.value import Value

# A run's id becomes a folder, here and in the store.
_RUN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}\Z")


class LeaseWish(Value):
    """What a job wants to do in one place."""

    definition: Definition
    place: str
    access: Access


Leases = Callable[[LeaseWish], LeaseSpec | None]


def plan_job(
    configuration: RunConfiguration,
    datastores: Mapping[str, Defined],
    *,
    run_id: str,
    leases: Leases,
    experiment: str = "default",
    source: Source | None = None,
    has_file: Callable[[str], bool] | None = None,
    keep: Mapping[str, When] | None = None,
    absolute_paths: bool = False,
) -> JobSpec:
    """The job spec of one run. `leases` is called last, once for each place, after all checks.

    `has_file` tells whether the source folder has a file; `keep` says after which runs an output
    is kept, which is always where nothing is said. `{run_id}` in an output's place is filled in.
    """
    if not _RUN_ID.match(run_id):
        raise NameRejected(
            "run", run_id, "use up to 255 of the characters a-z, A-Z, 0-9, _, . and -"
        )
    prepared = configuration.with_references()
    work = _work(prepared, has_file)
    _refuse_unplannable(prepared)
    known = KnownDatastores(datastores)
    places = PlannedData.of(prepared, known, run_id)
    kept = keep or {}
    for name in kept:
        if name not in {output.name for output in places.outputs}:
            raise DefinitionRejected(name, "keep names it, and it is no output of this run")
    outputs = tuple(replace(one, when=kept.get(one.name, one.when)) for one in places.outputs)
    _refuse_shared_places(outputs)
    references: tuple[Reference, ...] = (*places.inputs, *places.rows, *outputs)
    lay_out(references, PurePosixPath("/"), absolute_paths=absolute_paths)
    return JobSpec(
        run_id,
        experiment,
        work,
        _leased_source(source, leases),
        {
            **prepared.environment.environment_variables,
            **prepared.environment_variables,
            **_named_variables(prepared.data),
        },
        _leased(places.inputs, Access.READ, leases),
        _leased(places.rows, Access.READ, leases),
        _leased(outputs, Access.READ_WRITE, leases),
        Limits(run_seconds=_seconds(prepared.max_run_duration_seconds)),
        absolute_paths,
    )


def _work(configuration: RunConfiguration, has_file: Callable[[str], bool] | None) -> Work:
    arguments = tuple(str(one) for one in configuration.arguments)
    script, command = configuration.script, configuration.command
    if script and command:
        raise DefinitionRejected("run", "it has a script and a command; give one of them")
    if isinstance(command, str) and command:
        if arguments:
            raise DefinitionRejected("run", "a command for the shell has its arguments inside it")
        return Command(shell=command)
    if command:
        return Command((*command, *arguments))
    if not script:
        raise DefinitionRejected("run", "it has neither a script nor a command; name one")
    path = PurePosixPath(script)
    if path.is_absolute() or ".." in path.parts:
        raise DefinitionRejected(
            "run", f'the entry script "{script}" is outside the source folder; put it inside'
        )
    if has_file is not None and not has_file(str(path)):
        raise DefinitionRejected(
            "run",
            f'the entry script "{script}" is not in the source folder; name it relative to that',
        )
    return Script(str(path), arguments, configuration.environment.python.interpreter_path)


def _refuse_unplannable(configuration: RunConfiguration) -> None:
    if configuration.node_count > 1:
        raise DefinitionRejected(
            "run", f"{configuration.node_count} nodes are asked for; a job here runs on one"
        )
    names = [*configuration.data_references, *configuration.data, *configuration.output_data]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise DefinitionRejected(
                name, "two of data_references, data and output_data have this name; rename one"
            )


def _named_variables(data: Mapping[str, Data]) -> dict[str, str]:
    return {
        one.environment_variable_name: f"${{AZUREML_DATAREFERENCE_{name}}}"
        for name, one in data.items()
        if one.environment_variable_name
    }


def _refuse_shared_places(outputs: Iterable[OutputSpec]) -> None:
    taken: dict[str, OutputSpec] = {}
    for one in outputs:
        # Two names may stand for one container.
        where = to_wire(one.definition) | {"name": None, "place": one.place}
        other = taken.setdefault(repr(sorted(where.items())), one)
        if other is not one:
            raise DefinitionRejected(
                one.name,
                f'it and "{other.name}" are both written to '
                f'"{join(str(one.definition.name), one.place)}"; give each a place of its own',
            )


Leasable = TypeVar("Leasable", InputSpec, RowsSpec, OutputSpec)


def _leased(specs: tuple[Leasable, ...], access: Access, leases: Leases) -> tuple[Leasable, ...]:
    return tuple(
        replace(
            one,
            lease=leases(
                LeaseWish(one.definition, "" if isinstance(one, RowsSpec) else one.place, access)
            ),
        )
        for one in specs
    )


def _leased_source(source: Source | None, leases: Leases) -> Source | None:
    if isinstance(source, SnapshotSource):
        wish = LeaseWish(source.definition, source.place, Access.READ)
        return replace(source, lease=leases(wish))
    return source


def _seconds(given: int | None) -> float | None:
    return None if given is None else float(given)
