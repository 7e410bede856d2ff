"""The lines by which a script tells of its run, and how they are written and read.

A script never opens the registry: it appends to the file that `DATASTORES_RUN_EVENTS` names, and
whoever submitted the run takes the lines in. A line is one JSON object, and one `Entry`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from datastores.errors import NameRejected
from datastores.history.entries import Changes, Entry
from datastores.history.metrics import Metric, MetricKind, from_wire, to_wire
from datastores.history.records import INTERACTIVE, ExperimentName, RunFile, RunId, RunRecord
from datastores.history.showing import stored_text
from datastores.history.status import Status
from datastores.keys import parse_place
from datastores.value import Value

T = TypeVar("T")

VERSION = 1
EVENTS_VARIABLE = "DATASTORES_RUN_EVENTS"

LONGEST_LABEL = 255
LONGEST_FILE_NAME = 1024
_BIGGEST_STEP = 2**63 - 1


class BadLine(ValueError):
    """A line that is no event; the text says why."""


def encode(entry: Entry) -> bytes:
    """The line of an entry, without its end."""
    wire: dict[str, Any] = {"v": VERSION, "run": entry.run_id}
    if entry.child is not None:
        wire["child"] = {
            "parent": entry.child.parent,
            "name": entry.child.display_name,
            "at": entry.child.created.isoformat(),
        }
    if entry.metrics:
        wire["metrics"] = [_metric_wire(metric) for metric in entry.metrics]
    if entry.tags:
        wire["tags"] = dict(entry.tags)
    if entry.removed_tags:
        wire["untag"] = list(entry.removed_tags)
    if entry.properties:
        wire["properties"] = dict(entry.properties)
    if entry.files:
        wire["files"] = [_file_wire(file) for file in entry.files]
    for name in ("status", "error", "display_name", "description"):
        if entry.changes and name in entry.changes:
            wire[name] = entry.changes[name]
    return json.dumps(wire, allow_nan=False, separators=(",", ":")).encode()


def decode(line: bytes, experiment: str) -> Entry:
    """The entry that a line stands for; `BadLine` where it stands for none."""
    try:
        wire = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"it is not JSON ({type(error).__name__})") from error
    if not isinstance(wire, dict) or wire.get("v") != VERSION:
        raise BadLine(f"it is not an object of version {VERSION}")
    try:
        return _entry(_Fields(wire), ExperimentName(experiment))
    except (ValueError, NameRejected) as error:
        raise BadLine(str(error)) from error


def label_name(text: object) -> str:
    """What a tag or a property may be called."""
    if not isinstance(text, str) or not text or stored_text(text) != text:
        raise NameRejected("tag", str(text), "use a text with something in it")
    if len(text) > LONGEST_LABEL:
        raise NameRejected("tag", text[:40] + "...", f"use up to {LONGEST_LABEL} characters")
    return text


def file_name(text: object) -> str:
    """What a file of a run may be called: a place, in its one spelling."""
    if not isinstance(text, str) or stored_text(text) != text:
        raise NameRejected("run's file", str(text), "use a text such as outputs/model.pkl")
    place = parse_place(text)
    if not place or len(place) > LONGEST_FILE_NAME or "" in place.split("/"):
        raise NameRejected(
            "run's file", text[:80], f"name a file, in up to {LONGEST_FILE_NAME} characters"
        )
    return place


def _metric_wire(metric: Metric) -> dict[str, Any]:
    wire = {
        "name": metric.name,
        "kind": metric.kind.value,
        "value": to_wire(metric.value),
        "at": metric.logged.isoformat(),
    }
    if metric.step is not None:
        wire["step"] = metric.step
    if metric.description:
        wire["description"] = metric.description
    return wire


def _file_wire(file: RunFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "size": file.size,
        "path": file.path,
        "datastore": file.datastore,
        "at": file.added.isoformat(),
    }


class _Fields(Value):
    """An object of JSON, read field by field; a wrong type is a `ValueError` naming the field."""

    wire: Mapping[str, Any]

    def text(self, name: str) -> str:
        value = self.wire.get(name)
        if not isinstance(value, str):
            raise ValueError(f'its "{name}" is not a text')  # noqa: TRY004  # one kind for all
        return stored_text(value)

    def text_or_none(self, name: str) -> str | None:
        return None if self.wire.get(name) is None else self.text(name)

    def whole(self, name: str) -> int | None:
        value = self.wire.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or abs(value) > _BIGGEST_STEP:
            raise ValueError(f'its "{name}" is not a whole number of 64 bits')
        return int(value)

    def moment(self, name: str) -> datetime:
        moment = datetime.fromisoformat(self.text(name))
        if moment.tzinfo is None:
            raise ValueError(f'its "{name}" has no time zone')
        return moment

    def labels(self, name: str) -> dict[str, str | None]:
        value = self.wire.get(name, {})
        if not isinstance(value, dict):
            raise ValueError(f'its "{name}" is not an object')  # noqa: TRY004  # one kind for all
        inner = _Fields(value)
        return {label_name(key): inner.text_or_none(key) for key in value}

    def several(self, name: str, read: Callable[[_Fields], T]) -> tuple[T, ...]:
        value = self.wire.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise ValueError(f'its "{name}" is not a list of objects')
        return tuple(read(_Fields(one)) for one in value)


def _entry(fields: _Fields, experiment: ExperimentName) -> Entry:
    run_id = RunId.parse(fields.text("run"))
    untag = fields.wire.get("untag", [])
    if not isinstance(untag, list):
        raise ValueError('its "untag" is not a list')  # noqa: TRY004  # one kind for all
    properties = fields.labels("properties")
    child = fields.wire.get("child")
    return Entry(
        run_id,
        child=_child(_Fields(child), run_id, experiment) if isinstance(child, dict) else None,
        metrics=fields.several("metrics", _metric),
        tags=fields.labels("tags"),
        removed_tags=tuple(label_name(one) for one in untag),
        properties={name: value or "" for name, value in properties.items()},
        files=fields.several("files", _file),
        changes=_changes(fields),
    )


def _child(fields: _Fields, run_id: RunId, experiment: ExperimentName) -> RunRecord:
    created = fields.moment("at")
    return RunRecord(
        run_id,
        experiment,
        Status.RUNNING,
        created=created,
        started=created,
        type=INTERACTIVE,
        display_name=fields.text_or_none("name"),
        parent=RunId.parse(fields.text("parent")),
    )


def _metric(fields: _Fields) -> Metric:
    if "value" not in fields.wire:
        raise ValueError("a metric has no value")
    return Metric(
        fields.text("name"),
        MetricKind(fields.text("kind")),
        from_wire(fields.wire["value"]),
        fields.whole("step"),
        fields.text_or_none("description") or "",
        fields.moment("at"),
    )


def _file(fields: _Fields) -> RunFile:
    size = fields.whole("size")
    return RunFile(
        file_name(fields.text("name")),
        max(size or 0, 0),
        datastore=fields.text_or_none("datastore"),
        path=fields.text_or_none("path"),
        added=fields.moment("at"),
    )


def _changes(fields: _Fields) -> Changes | None:
    changes: Changes = {}
    if fields.wire.get("status") is not None:
        changes["status"] = Status(fields.text("status"))
    if fields.wire.get("error") is not None:
        changes["error"] = fields.text("error")
    if fields.wire.get("display_name") is not None:
        changes["display_name"] = fields.text("display_name")
    if fields.wire.get("description") is not None:
        changes["description"] = fields.text("description")
    return changes or None
