"""`Pipeline`: steps that pass data on, submitted as one run with a child for each step."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from datastores import keys
from datastores.catalog.workspace import Workspace
from datastores.errors import DefinitionRejected, NotRegistered, Unsupported
from datastores.history.records import STEP_RUN, ExperimentName, RunId, RunRecord, UsedReference
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from datastores.references import DataReference
from datastores.runs import (
    DataTransferStep,
    configure_step,
    locate,
    needs_of,
    plan_steps,
)
from datastores.runs.pipeline import StoredAt, manifest_beside
from datastores.runs.steps import ScriptStep, Step
from datastores.storage.verbs import read_bytes
from datastores.submission.launching import claimed, launch
from datastores.submission.leasing import LIFETIME_SECONDS
from datastores.submission.order import (
    JobOrder,
    Order,
    PipelineOrder,
    Place,
    StepOrder,
    TransferOrder,
)
from datastores.submission.place import place_of
from datastores.submission.preparing import Identity, Prepared, prepare
from datastores.submission.submitting import identify, job_record, record_order, send_source

RUN_TYPE = "azureml.PipelineRun"
# What a port of a transfer step is called in its record.
_COPIED_FROM = "source"


class Pipeline:
    """Steps in the order of what they need; checked when it is made, started by `submit`."""

    def __init__(
        self,
        workspace: Workspace,
        steps: Sequence[Any],
        description: str | None = None,
        default_datastore: Any = None,
        default_source_directory: str | os.PathLike[str] | None = None,
        resolve_closure: bool = True,
    ) -> None:
        self.workspace, self.description = workspace, description
        self.default_datastore = getattr(default_datastore, "name", default_datastore)
        self.default_source_directory = default_source_directory
        given = list(_flat(steps))
        self.steps: list[Step] = _closure(given) if resolve_closure else given
        if not self.steps:
            raise DefinitionRejected("pipeline", "it has no steps; give at least one")
        plan_steps(self.steps)

    def validate(self) -> list[str]:
        """What is wrong with it, in sentences; nothing is started."""
        try:
            _plan(self, identify(self.workspace, "validation"))
        except (DefinitionRejected, NotRegistered, Unsupported) as error:
            return [str(error)]
        return []

    def submit(self, experiment_name: str, **settings: Any) -> str:
        """Start it, and return the id of its run; the settings are those of `submit_pipeline`."""
        return submit_pipeline(self.workspace, experiment_name, self, **settings)


def submit_pipeline(
    workspace: Workspace,
    experiment_name: str,
    pipeline: Pipeline,
    *,
    tags: Mapping[str, str | None] | None = None,
    run_id: str | None = None,
    display_name: str | None = None,
    continue_on_step_failure: bool = False,
    mount_fallback: str = "copy",
    lease_seconds: float = LIFETIME_SECONDS,
    at_once: int | None = None,
    parent: str | None = None,
) -> str:
    """Start all steps on this machine as soon as what they need is there; the pipeline run's id.

    Every step is checked before the first one starts. A step that fails stops those that need it,
    and with `continue_on_step_failure` no others.
    """
    experiment = ExperimentName.parse(experiment_name)
    identity = identify(workspace, experiment, run_id)
    planned = _plan(pipeline, identity)
    children = [_Child.of(workspace, one, mount_fallback, lease_seconds) for one in planned]
    order = PipelineOrder(
        tuple(StepOrder(one.step.name, one.identity.run_id, one.after) for one in planned),
        continue_on_step_failure,
        at_once or min(4, os.cpu_count() or 1),
    )
    record = RunRecord(
        RunId.parse(identity.run_id),
        experiment,
        Status.NOT_STARTED,
        display_name=display_name,
        description=pipeline.description,
        type=RUN_TYPE,
        compute_target="local",
        folder=str(identity.place.root),
        parent=None if parent is None else RunId.parse(parent),
        tags=dict(tags or {}),
    )
    with contextlib.ExitStack() as held:
        with contextlib.ExitStack() as made:
            for one in (identity, *(child.planned.identity for child in children)):
                made.enter_context(one.place.made())
            for planned_step in planned:
                if planned_step.prepared is not None:
                    send_source(workspace, planned_step.prepared, planned_step.identity.place)
            lock = held.enter_context(claimed(identity.place))
            record_order(workspace, record, order, identity.place)
            for child in children:
                record_order(workspace, child.record, child.order, child.planned.identity.place)
        launch(workspace, identity.place, lock)
    return identity.run_id


def step_output(workspace: Workspace, pipeline_run_id: str, step: str, port: str) -> DataReference:
    """What a step of a pipeline run left at a port, as a reference to read it by."""
    at = _written_at(workspace, pipeline_run_id, step, port)
    return workspace.get_datastore(at.datastore).path(at.place, data_reference_name=port)  # type: ignore[no-any-return]  # outputs are in datastores of files


def step_manifest(
    workspace: Workspace, pipeline_run_id: str, step: str, port: str
) -> dict[str, Any]:
    """What a step completed at a port: run, moment, and name, size and MD5 of each file.

    `NotFound` until all of it is in the store, and after a copy, which has no manifest.
    """
    at = _written_at(workspace, pipeline_run_id, step, port)
    with workspace.get_datastore(at.datastore).opened() as store:
        found: dict[str, Any] = json.loads(read_bytes(store, manifest_beside(at.place)))
    return found


def _written_at(workspace: Workspace, pipeline_run_id: str, step: str, port: str) -> StoredAt:
    history = RunHistory(workspace.registry, workspace.name)
    children = history.list(parent=history.get(pipeline_run_id).run_id)
    by_name = {child.display_name or child.run_id: child for child in children}
    if step not in by_name:
        raise NotRegistered("step", step, f'run "{pipeline_run_id}"', sorted(by_name))
    places = _written(by_name[step])
    if port not in places:
        raise NotRegistered("output", port, f'step "{step}"', sorted(places))
    return places[port]


class _Planned:
    """A step as it will run: a job that was prepared, or a copy."""

    def __init__(
        self,
        step: Step,
        identity: Identity,
        after: tuple[str, ...],
        prepared: Prepared | None = None,
        copy: TransferOrder | None = None,
    ) -> None:
        self.step, self.identity, self.after = step, identity, after
        self.prepared, self.copy = prepared, copy


class _Child:
    """A step's record and order."""

    def __init__(self, planned: _Planned, record: RunRecord, order: Order) -> None:
        self.planned, self.record, self.order = planned, record, order

    @classmethod
    def of(
        cls, workspace: Workspace, planned: _Planned, mount_fallback: str, lease_seconds: float
    ) -> _Child:
        order: Order
        if planned.prepared is not None:
            record = job_record(workspace, planned.identity, planned.prepared)
            order = JobOrder(planned.prepared.spec, mount_fallback, lease_seconds)
        else:
            assert planned.copy is not None
            record, order = _copy_record(planned, planned.copy), planned.copy
        return cls(planned, replace(record, display_name=planned.step.name, type=STEP_RUN), order)


def _plan(pipeline: Pipeline, identity: Identity) -> list[_Planned]:
    steps = pipeline.steps
    default = pipeline.default_datastore or pipeline.workspace.default_datastore_name
    needs = needs_of(steps)
    planned: list[_Planned] = []
    for step in (one for layer in plan_steps(steps) for one in layer):
        child = RunId.child_of(identity.run_id)
        place = place_of(pipeline.workspace, child)
        own = Identity(child, identity.experiment, place, identity.run_id)
        after = tuple(dict.fromkeys(needs[step.name]))
        if isinstance(step, DataTransferStep):
            copy = _copy(pipeline, step, identity.run_id, default)
            planned.append(_Planned(step, own, after, copy=copy))
        else:
            assert isinstance(step, ScriptStep)
            made = configure_step(step, steps, run_id=identity.run_id, default_datastore=default)
            folder = _folder(pipeline, step)
            prepared = prepare(pipeline.workspace, made, own, source_directory=folder)
            prepared = _with_manifests_beside(prepared, {port.name for port in step.outputs})
            planned.append(_Planned(step, own, after, prepared))
    _refuse_shared_targets(planned)
    return planned


def _with_manifests_beside(prepared: Prepared, ports: Collection[str]) -> Prepared:
    """The next step reads all that is in a port's place, so its manifest lies elsewhere."""
    outputs = tuple(
        replace(one, manifest=manifest_beside(one.place)) if one.name in ports else one
        for one in prepared.spec.outputs
    )
    return replace(prepared, spec=replace(prepared.spec, outputs=outputs))


def _folder(pipeline: Pipeline, step: ScriptStep) -> str | os.PathLike[str]:
    if step.source_directory != "." or pipeline.default_source_directory is None:
        return step.source_directory
    return pipeline.default_source_directory


def _copy(
    pipeline: Pipeline, step: DataTransferStep, run_id: str, default: str | None
) -> TransferOrder:
    source = locate(step.source, pipeline.steps, run_id=run_id, default_datastore=default)
    target = locate(step.get_output(), pipeline.steps, run_id=run_id, default_datastore=default)
    for at in (source, target):
        _refuse_rows(pipeline.workspace, step.name, at)
    place = target.place
    if (step.source_type, step.destination_type) == ("file", "directory"):
        place = keys.join(place, keys.basename(source.place))
    return TransferOrder(Place(source.datastore, source.place), Place(target.datastore, place))


def _refuse_rows(workspace: Workspace, step: str, at: StoredAt) -> None:
    if workspace.get_datastore(at.datastore).definition.holds == "rows":
        raise Unsupported(
            at.datastore,
            None,
            f'step "{step}" copies files and this holds rows; read them with SqlDataReference',
        )


def _refuse_shared_targets(planned: Iterable[_Planned]) -> None:
    taken: dict[Place, _Planned] = {}
    for one in planned:
        if one.copy is None:
            continue
        other = taken.setdefault(one.copy.target, one)
        if other is not one:
            target = one.copy.target
            raise DefinitionRejected(
                one.step.name,
                f'it and "{other.step.name}" both copy to "{target.datastore}/{target.place}"; '
                f"give each a place of its own",
            )


def _copy_record(planned: _Planned, order: TransferOrder) -> RunRecord:
    assert isinstance(planned.step, DataTransferStep)
    port = planned.step.get_output().name
    source, target = order.source, order.target
    identity = planned.identity
    return RunRecord(
        RunId.parse(identity.run_id),
        ExperimentName.parse(identity.experiment),
        Status.NOT_STARTED,
        compute_target="local",
        folder=str(identity.place.root),
        references=(
            UsedReference(_COPIED_FROM, source.datastore, source.place, "download"),
            UsedReference(port, target.datastore, target.place, "upload"),
        ),
        parent=None if identity.parent is None else RunId.parse(identity.parent),
    )


def _written(record: RunRecord) -> dict[str, StoredAt]:
    """The places that a step wrote, by port."""
    if record.spec is not None:
        return {
            one["name"]: StoredAt(one["definition"]["name"], one["place"])
            for one in record.spec["outputs"]
        }
    return {
        one.name: StoredAt(one.datastore, one.place)
        for one in record.references
        if one.name != _COPIED_FROM
    }


def _flat(steps: Sequence[Any]) -> Iterable[Step]:
    for one in steps:
        if isinstance(one, Step):
            yield one
        elif isinstance(one, list | tuple):
            yield from _flat(one)
        else:
            raise DefinitionRejected(
                "pipeline", f"a {type(one).__name__} is no step; give PythonScriptStep and others"
            )


def _closure(given: list[Step]) -> list[Step]:
    """The steps and those that they run after."""
    found: list[Step] = []
    waiting = list(given)
    while waiting:
        step = waiting.pop(0)
        if step not in found:
            found.append(step)
            waiting += step.before
    return found
