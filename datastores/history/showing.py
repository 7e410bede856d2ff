"""What of a run may be remembered: leases go, and what looks like a secret is masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from datastores.history.metrics import Metric
from datastores.history.records import RunRecord
from datastores.secret import MASK, redact

# Variables that people put secrets into, by their names.
_SECRETIVE = re.compile(
    r"(?:^|_)(?:\w*SECRET|\w*TOKEN|\w*PASSWORD|PASSWD|PASS|PWD|SAS|\w*KEY|\w*CREDENTIALS?"
    r"|CONNECTION_?STRING|AUTH)(?:_|$)",
    re.IGNORECASE,
)

# PostgreSQL's texts hold neither NUL nor half a character.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def stored_text(text: str) -> str:
    """The text as both databases can keep it."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def shown_record(record: RunRecord) -> RunRecord:
    """The record as it may lie in a database that others can read."""
    return replace(
        record,
        spec=None if record.spec is None else shown_spec(record.spec),
        environment=None if record.environment is None else shown_environment(record.environment),
        report=None if record.report is None else _redacted(record.report),
        command=tuple(redact(one) for one in record.command),
        error=_shown(record.error),
        display_name=_shown(record.display_name),
        description=_shown(record.description),
        tags=shown_labels(record.tags),
        properties=shown_labels(record.properties),
    )


def shown_spec(wire: Mapping[str, Any]) -> dict[str, Any]:
    """A job spec without its leases, and with masks for variables that are named like secrets."""
    spec = {key: _without_leases(value) for key, value in wire.items() if key != "lease"}
    variables = spec.get("environment")
    if isinstance(variables, dict):
        spec["environment"] = _masked(variables)
    return spec


def shown_environment(wire: Mapping[str, Any]) -> dict[str, Any]:
    """An environment with masks for variables that are named like secrets."""
    shown: dict[str, Any] = _redacted(wire)
    variables = shown.get("environmentVariables")
    if isinstance(variables, dict):
        shown["environmentVariables"] = _masked(variables)
    return shown


def shown_labels(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Tags or properties, masked."""
    return {
        name: _shown(value) if isinstance(value, str) else value for name, value in labels.items()
    }


def shown_metric(metric: Metric) -> Metric:
    """A metric with its texts masked; almost all are numbers and stay what they are."""
    if isinstance(metric.value, int | float) and not metric.description:
        return metric
    return replace(metric, value=_redacted(metric.value), description=redact(metric.description))


def _masked(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: MASK if _SECRETIVE.search(name) and value else value
        for name, value in variables.items()
    }


def _shown(text: str | None) -> str | None:
    return None if text is None else stored_text(redact(text))


def _without_leases(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_leases(one) for key, one in value.items() if key != "lease"}
    if isinstance(value, list | tuple):
        return [_without_leases(one) for one in value]
    return redact(value) if isinstance(value, str) else value


def _redacted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _redacted(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(one) for one in value]
    return redact(value) if isinstance(value, str) else value
