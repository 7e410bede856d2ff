"""Histories as rows of the registry's tables, inside somebody else's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from datastores.history import metrics as wire
from datastores.history.metrics import Metric, MetricKind
from datastores.history.records import (
    ExperimentName,
    ExperimentRecord,
    RunFile,
    RunId,
    RunRecord,
    used_references,
)
from datastores.history.status import Status
from datastores.registry.schema import experiments, metrics, run_files, run_labels, runs

TAG, PROPERTY = "tag", "property"
# Both databases bound the parameters of one statement.
_AT_ONCE = 500


def list_experiments(connection: Connection, workspace_id: str) -> list[ExperimentRecord]:
    """All of a workspace, by name."""
    query = select(experiments).where(experiments.c.workspace_id == workspace_id)
    return [_experiment(row) for row in connection.execute(query.order_by(experiments.c.name))]


def find_experiment(
    connection: Connection, workspace_id: str, name: ExperimentName
) -> ExperimentRecord | None:
    """The experiment of this name."""
    query = select(experiments).where(_of_name(workspace_id, name))
    row = connection.execute(query).one_or_none()
    return _experiment(row) if row else None


def insert_experiment(connection: Connection, workspace_id: str, record: ExperimentRecord) -> None:
    """File a new name."""
    connection.execute(
        insert(experiments).values(
            workspace_id=workspace_id,
            name=str(record.name),
            created=record.created,
            tags=dict(record.tags),
            runs=record.runs,
            archived=record.archived,
        )
    )


def change_experiment(
    connection: Connection, workspace_id: str, name: ExperimentName, **values: Any
) -> None:
    """Set some columns."""
    connection.execute(update(experiments).where(_of_name(workspace_id, name)).values(values))


def delete_experiment(connection: Connection, workspace_id: str, name: ExperimentName) -> None:
    """Forget an experiment; its runs and what they logged go by the foreign keys."""
    connection.execute(delete(experiments).where(_of_name(workspace_id, name)))


def find_run(connection: Connection, workspace_id: str, run_id: str) -> RunRecord | None:
    """The run of this id, with its labels."""
    found = _records(connection, workspace_id, select(runs).where(_is(runs, workspace_id, run_id)))
    return found[0] if found else None


def list_runs(
    connection: Connection,
    workspace_id: str,
    conditions: Sequence[ColumnElement[bool]],
    limit: int | None,
) -> list[RunRecord]:
    """The newest runs that meet the conditions, the newest first."""
    query = (
        select(runs)
        .where(runs.c.workspace_id == workspace_id, *conditions)
        .order_by(runs.c.created.desc(), runs.c.run_id.desc())
        .limit(limit)
    )
    return _records(connection, workspace_id, query)


def is_labelled(kind: str, name: str, value: str | None) -> ColumnElement[bool]:
    """Whether a run has the label; any value will do where none is given."""
    conditions = [
        run_labels.c.workspace_id == runs.c.workspace_id,
        run_labels.c.run_id == runs.c.run_id,
        run_labels.c.kind == kind,
        run_labels.c.name == name,
    ]
    if value is not None:
        conditions.append(run_labels.c.value == value)
    return exists().where(*conditions)


def is_older(created: datetime, run_id: str) -> ColumnElement[bool]:
    """Whether a run comes after this one in a listing."""
    return or_(runs.c.created < created, and_(runs.c.created == created, runs.c.run_id < run_id))


def insert_run(connection: Connection, workspace_id: str, record: RunRecord) -> None:
    """Remember a run with its labels."""
    connection.execute(
        insert(runs).values(
            workspace_id=workspace_id,
            run_id=str(record.run_id),
            metrics=0,
            events_offset=record.events_offset,
            **run_values(record),
        )
    )
    set_labels(connection, workspace_id, record.run_id, TAG, record.tags)
    set_labels(connection, workspace_id, record.run_id, PROPERTY, record.properties)


def run_values(record: RunRecord) -> dict[str, Any]:
    """The columns of a record that its writers decide."""
    return {
        "experiment": str(record.experiment),
        "number": record.number,
        "parent": str(record.parent) if record.parent else None,
        "status": record.status.value,
        "type": record.type,
        "created": record.created,
        "started": record.started,
        "ended": record.ended,
        "display_name": record.display_name,
        "description": record.description,
        "compute_target": record.compute_target,
        "submitted_by": record.submitted_by,
        "script": record.script,
        "command": list(record.command),
        "folder": record.folder,
        "spec": record.spec,
        "environment": record.environment,
        "references": [asdict(one) for one in record.references],
        "report": record.report,
        "exit_code": record.exit_code,
        "error": record.error,
    }


def change_run(connection: Connection, workspace_id: str, run_id: str, **values: Any) -> None:
    """Set some columns."""
    connection.execute(update(runs).where(_is(runs, workspace_id, run_id)).values(values))


def set_labels(
    connection: Connection,
    workspace_id: str,
    run_id: str,
    kind: str,
    labels: Mapping[str, str | None],
) -> None:
    """Put labels over earlier ones of their names."""
    if not labels:
        return
    remove_labels(connection, workspace_id, run_id, kind, labels)
    connection.execute(
        insert(run_labels),
        [
            {
                "workspace_id": workspace_id,
                "run_id": str(run_id),
                "kind": kind,
                "name": name,
                "value": value,
            }
            for name, value in labels.items()
        ],
    )


def remove_labels(
    connection: Connection, workspace_id: str, run_id: str, kind: str, names: Iterable[str]
) -> None:
    """Forget labels; those that are not there are forgotten already."""
    connection.execute(
        delete(run_labels).where(
            _is(run_labels, workspace_id, run_id),
            run_labels.c.kind == kind,
            run_labels.c.name.in_(list(names)),
        )
    )


def insert_metrics(
    connection: Connection, workspace_id: str, run_id: str, values: Sequence[Metric]
) -> None:
    """Append metrics to those of a run; the caller has looked that it exists."""
    if not values:
        return
    query = select(runs.c.metrics).where(_is(runs, workspace_id, run_id))
    last: int = connection.execute(query).scalar_one()
    connection.execute(
        insert(metrics),
        [
            {
                "workspace_id": workspace_id,
                "run_id": str(run_id),
                "number": number,
                "name": metric.name,
                "kind": metric.kind.value,
                "value": [wire.to_wire(metric.value)],
                "step": metric.step,
                "description": metric.description,
                "logged": metric.logged,
            }
            for number, metric in enumerate(values, last + 1)
        ],
    )
    change_run(connection, workspace_id, run_id, metrics=last + len(values))


def list_metrics(
    connection: Connection, workspace_id: str, run_id: str, name: str | None, after: int
) -> list[tuple[int, Metric]]:
    """Metrics with their numbers, in the order they arrived."""
    query = select(metrics).where(_is(metrics, workspace_id, run_id), metrics.c.number > after)
    if name is not None:
        query = query.where(metrics.c.name == name)
    return [
        (
            row.number,
            Metric(
                row.name,
                MetricKind(row.kind),
                wire.from_wire(row.value[0]),
                row.step,
                row.description,
                row.logged,
            ),
        )
        for row in connection.execute(query.order_by(metrics.c.number))
    ]


def put_files(
    connection: Connection, workspace_id: str, run_id: str, files: Sequence[RunFile]
) -> None:
    """Remember files over earlier ones of their names."""
    if not files:
        return
    for batch in _batches([file.name for file in files]):
        connection.execute(
            delete(run_files).where(
                _is(run_files, workspace_id, run_id), run_files.c.name.in_(batch)
            )
        )
    # Of two of one name in one batch, the later counts.
    connection.execute(
        insert(run_files),
        [
            {"workspace_id": workspace_id, "run_id": str(run_id), **asdict(file)}
            for file in {file.name: file for file in files}.values()
        ],
    )


def stored_files(
    connection: Connection, workspace_id: str, experiment: ExperimentName
) -> list[tuple[str, str, int, int]]:
    """Run, datastore, how many files, how many bytes: of an experiment's files in datastores."""
    query = (
        select(
            run_files.c.run_id,
            run_files.c.datastore,
            func.count(),
            func.coalesce(func.sum(run_files.c.size), 0),
        )
        .join_from(
            run_files,
            runs,
            and_(
                runs.c.workspace_id == run_files.c.workspace_id,
                runs.c.run_id == run_files.c.run_id,
            ),
        )
        .where(
            runs.c.workspace_id == workspace_id,
            runs.c.experiment == str(experiment),
            run_files.c.datastore.is_not(None),
            run_files.c.place.is_not(None),
        )
        .group_by(run_files.c.run_id, run_files.c.datastore)
        .order_by(run_files.c.run_id, run_files.c.datastore)
    )
    # PostgreSQL sums whole numbers to decimals.
    return [
        (run_id, datastore, files, int(size))
        for run_id, datastore, files, size in connection.execute(query)
    ]


def list_files(connection: Connection, workspace_id: str, run_id: str) -> list[RunFile]:
    """The files of a run, by name."""
    query = select(run_files).where(_is(run_files, workspace_id, run_id))
    return [
        RunFile(row.name, row.size, row.datastore, row.place, row.path, row.added)
        for row in connection.execute(query.order_by(run_files.c.name))
    ]


def _records(connection: Connection, workspace_id: str, query: Select[Any]) -> list[RunRecord]:
    found = connection.execute(query).all()
    labels: dict[str, dict[str, dict[str, str | None]]] = {}
    for batch in _batches([row.run_id for row in found]):
        wanted = select(run_labels).where(
            run_labels.c.workspace_id == workspace_id, run_labels.c.run_id.in_(batch)
        )
        # By name, so that a record is the same whenever it is read.
        for row in connection.execute(wanted.order_by(run_labels.c.name)):
            of_kind = labels.setdefault(row.run_id, {}).setdefault(row.kind, {})
            of_kind[row.name] = row.value
    return [_record(row, labels.get(row.run_id, {})) for row in found]


def _record(row: Row[Any], labels: Mapping[str, Mapping[str, str | None]]) -> RunRecord:
    return RunRecord(
        run_id=RunId(row.run_id),
        experiment=ExperimentName(row.experiment),
        status=Status(row.status),
        created=row.created,
        started=row.started,
        ended=row.ended,
        display_name=row.display_name,
        description=row.description,
        type=row.type,
        compute_target=row.compute_target,
        submitted_by=row.submitted_by,
        script=row.script,
        command=tuple(row.command),
        folder=row.folder,
        spec=row.spec,
        environment=row.environment,
        references=used_references(row.references),
        report=row.report,
        exit_code=row.exit_code,
        error=row.error,
        parent=RunId(row.parent) if row.parent else None,
        tags=dict(labels.get(TAG, {})),
        properties={name: value or "" for name, value in labels.get(PROPERTY, {}).items()},
        number=row.number,
        events_offset=row.events_offset,
    )


def _experiment(row: Row[Any]) -> ExperimentRecord:
    return ExperimentRecord(ExperimentName(row.name), row.created, row.tags, row.runs, row.archived)


def _of_name(workspace_id: str, name: str) -> ColumnElement[bool]:
    return and_(experiments.c.workspace_id == workspace_id, experiments.c.name == str(name))


def _is(table: Any, workspace_id: str, run_id: str) -> ColumnElement[bool]:
    return and_(table.c.workspace_id == workspace_id, table.c.run_id == str(run_id))


def _batches(names: Sequence[str]) -> Iterable[list[str]]:
    for begin in range(0, len(names), _AT_ONCE):
        yield list(names[begin : begin + _AT_ONCE])
