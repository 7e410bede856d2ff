"""What can be said about a run after its creation, by its script or by others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from datastores.history.metrics import Metric
from datastores.history.records import RunFile, RunRecord, UsedReference
from datastores.history.status import Status
from datastores.value import Value, field


class Changes(TypedDict, total=False):
    """Fields of a run that may change after its creation."""

    status: Status
    started: datetime
    ended: datetime
    display_name: str | None
    description: str | None
    compute_target: str | None
    script: str | None
    command: tuple[str, ...]
    folder: str | None
    spec: Mapping[str, Any] | None
    environment: Mapping[str, Any] | None
    references: tuple[UsedReference, ...]
    report: Mapping[str, Any] | None
    exit_code: int | None
    error: str | None


class Entry(Value):
    """What is said about a run at one moment: some of these things."""

    run_id: str
    # The run itself, where it is a new one below another.
    child: RunRecord | None = None
    metrics: tuple[Metric, ...] = ()
    tags: Mapping[str, str | None] = field(default_factory=dict)
    removed_tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    files: tuple[RunFile, ...] = ()
    changes: Changes | None = None

    @property
    def has_only_metrics(self) -> bool:
        others = (
            self.child,
            self.tags,
            self.removed_tags,
            self.properties,
            self.files,
            self.changes,
        )
        return not any(others)


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """The same in the same order, neighbours that log to one run as one: fewer statements."""
    result: list[Entry] = []
    waiting: list[Metric] = []
    of_run = ""

    def settle() -> None:
        if waiting:
            result.append(Entry(of_run, metrics=tuple(waiting)))
            waiting.clear()

    for entry in entries:
        if entry.run_id != of_run or not entry.has_only_metrics:
            settle()
            of_run = entry.run_id
        if entry.has_only_metrics:
            waiting += entry.metrics
        else:
            result.append(entry)
    settle()
    return result
