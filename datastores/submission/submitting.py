"""`submit`: from a configuration to a run that somebody looks after."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from datastores.catalog.workspace import Workspace
from datastores.contract import Command, JobSpec, RowsSpec, Script, SnapshotSource, When, to_json
from datastores.history.environments import environment_to_wire
from datastores.history.records import ExperimentName, RunId, RunRecord, UsedReference
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from datastores.submission.launching import claimed, launch
from datastores.submission.leasing import LIFETIME_SECONDS
from datastores.submission.order import JobOrder, Order, order_to_wire
from datastores.submission.place import RunPlace, place_of
from datastores.submission.preparing import Identity, Prepared, Submittable, prepare
from datastores.submission.snapshot import send_snapshot

TARGET = "local"


def submit(
    workspace: Workspace,
    experiment_name: str,
    config: Submittable,
    *,
    tags: Mapping[str, str | None] | None = None,
    run_id: str | None = None,
    display_name: str | None = None,
    source_directory: str | os.PathLike[str] | None = None,
    keep: Mapping[str, When] | None = None,
    mount_fallback: str = "copy",
    lease_seconds: float = LIFETIME_SECONDS,
    parent: str | None = None,
    **overrides: Any,
) -> str:
    """Start a run on this machine and return its id; the run goes on when this process ends.

    What is wrong with it is refused here, before anything is fetched, sent or recorded. With a
    `parent` it is a run below that one, and goes on when that one ends. The other keywords are what
    an estimator takes when it is submitted.
    """
    experiment = ExperimentName.parse(experiment_name)
    identity = replace(identify(workspace, experiment, run_id), parent=parent)
    prepared = prepare(
        workspace,
        config,
        identity,
        source_directory=source_directory,
        keep=keep,
        overrides=overrides,
    )
    order = JobOrder(prepared.spec, mount_fallback, lease_seconds)
    with contextlib.ExitStack() as held:
        with identity.place.made():
            send_source(workspace, prepared, identity.place)
            record = job_record(workspace, identity, prepared)
            record = replace(record, display_name=display_name, tags=dict(tags or {}))
            lock = held.enter_context(claimed(identity.place))
            record_order(workspace, record, order, identity.place)
        launch(workspace, identity.place, lock)
    return identity.run_id


def identify(workspace: Workspace, experiment: str, run_id: str | None = None) -> Identity:
    """What a new run is called and where it will lie."""
    chosen = RunId.parse(run_id) if run_id is not None else RunId.new(experiment)
    return Identity(chosen, experiment, place_of(workspace, chosen))


def send_source(workspace: Workspace, prepared: Prepared, place: RunPlace) -> None:
    """Send the source folder, where the configuration names a datastore for it."""
    source = prepared.spec.source
    if prepared.to_snapshot is not None and isinstance(source, SnapshotSource):
        send_snapshot(workspace, prepared.to_snapshot, source, place)


def record_order(workspace: Workspace, record: RunRecord, order: Order, place: RunPlace) -> None:
    """Write down what is to be done, for the runner and in the registry."""
    place.save_order(order_to_wire(order))
    RunHistory(workspace.registry, workspace.name).create(record)


def job_record(workspace: Workspace, identity: Identity, prepared: Prepared) -> RunRecord:
    """The first page of a run's record."""
    spec = prepared.spec
    is_script = isinstance(spec.work, Script)
    return RunRecord(
        RunId.parse(identity.run_id),
        ExperimentName.parse(identity.experiment),
        Status.NOT_STARTED,
        compute_target=TARGET,
        submitted_by=_user(),
        script=spec.work.path if isinstance(spec.work, Script) else None,
        command=spec.work.arguments if is_script else _command(spec),
        folder=str(identity.place.root),
        spec=json.loads(to_json(spec)),
        references=used(workspace, spec),
        parent=None if identity.parent is None else RunId.parse(identity.parent),
        environment=environment_to_wire(prepared.configuration.environment),
    )


def used(workspace: Workspace, spec: JobSpec) -> tuple[UsedReference, ...]:
    """What a job reads and writes, with the registration of each datastore that counts now."""
    revisions = {
        str(record.name): str(record.revision) for record in workspace.registry.list(workspace.name)
    }
    return tuple(
        UsedReference(
            one.name,
            str(one.definition.name),
            one.place,
            "download" if isinstance(one, RowsSpec) else one.mode.value,
            {"registration": revisions.get(str(one.definition.name), "")},
        )
        for one in spec.references
    )


def _command(spec: JobSpec) -> tuple[str, ...]:
    assert isinstance(spec.work, Command)
    return (spec.work.shell,) if spec.work.shell is not None else spec.work.arguments


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
