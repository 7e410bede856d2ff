"""What is known of a run, in Azure ML's words, and as a small table for notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datastores.history.records import RunRecord

# What of a log is shown: its end, where the reason of a failure is.
_LOG_BYTES = 1024 * 1024


def details_of(record: RunRecord) -> dict[str, Any]:
    """Everything about a run under Azure ML's names; nothing secret."""
    details: dict[str, Any] = {
        "runId": str(record.run_id),
        "target": record.compute_target,
        "status": record.status.value,
        "startTimeUtc": _moment(record.started),
        "endTimeUtc": _moment(record.ended),
        "services": {},
        "properties": dict(record.properties),
        "inputDatasets": [
            {
                "name": one.name,
                "datastore": one.datastore,
                "path": one.place,
                "mechanism": one.mode,
                "versions": dict(one.versions),
            }
            for one in record.references
        ],
        "outputDatasets": [],
        "runDefinition": record.spec,
        "logFiles": {name: str(path) for name, path in log_files(record)},
        "submittedBy": record.submitted_by,
        "warnings": list((record.report or {}).get("warnings", ())),
    }
    if record.error is not None:
        code = None if record.exit_code is None else str(record.exit_code)
        details["error"] = {"error": {"code": code, "message": record.error}}
    if record.report is not None:
        details["report"] = record.report
    return details


def log_files(record: RunRecord) -> list[tuple[str, Path]]:
    """The logs in a run's folder, where this machine sees it."""
    folder = Path(record.folder) / "logs" if record.folder else None
    if folder is None or not folder.is_dir():
        return []
    return sorted((f"logs/{path.name}", path) for path in folder.iterdir() if path.is_file())


def log_text(path: Path) -> str:
    """A log, or its end where it is long."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LOG_BYTES))
        text = file.read(_LOG_BYTES).decode("utf-8", "replace")
    return text if size <= _LOG_BYTES else f"... ({size - _LOG_BYTES} bytes before)\n{text}"


def table(titles: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in HTML."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f'<table style="width:100%"><tr>{head}</tr>{body}</table>'


def wanted_labels(labels: str | Mapping[str, Any] | None) -> dict[str, str | None] | None:
    """A filter by tags or properties: a name alone, or names with their values."""
    if labels is None:
        return None
    if isinstance(labels, str):
        return {labels: None}
    return {name: None if value is None else str(value) for name, value in labels.items()}


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _cell(cell: object) -> str:
    return "" if cell is None else str(cell)
