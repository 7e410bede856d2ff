"""Metrics: what a script measured, as values that JSON and both databases can hold."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from datastores.errors import DefinitionRejected
from datastores.value import Value, field


class MetricKind(enum.StrEnum):
    """The shapes of metrics; each has its method of `Run`."""

    SCALAR = "scalar"
    LIST = "list"
    ROW = "row"
    TABLE = "table"
    IMAGE = "image"
    ACCURACY_TABLE = "accuracy_table"
    CONFUSION_MATRIX = "confusion_matrix"
    PREDICTIONS = "predictions"
    RESIDUALS = "residuals"


class Metric(Value):
    """One logged value; `value` is plain: numbers, texts, lists and dictionaries of them."""

    name: str
    kind: MetricKind
    value: Any
    step: int | None = None
    description: str = ""
    logged: datetime = field(default_factory=lambda: datetime.now(UTC))


def scalar(name: str, value: object) -> Any:
    """A number or a text; numpy's, torch's and pandas' single values become Python's."""
    plain = plain_value(name, value)
    if isinstance(plain, list | dict):
        raise DefinitionRejected(
            name, f"log takes one value and not a {type(value).__name__}; use log_list or log_table"
        )
    return plain


def plain_value(name: str, value: object) -> Any:
    """The value with nothing in it but what JSON knows."""
    # numpy's float64 is a float and prints otherwise, so the types are made Python's own.
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(key): plain_value(name, one) for key, one in value.items()}
    for method in ("tolist", "item"):  # arrays and single values of numpy, torch and pandas
        if hasattr(value, method):
            return plain_value(name, getattr(value, method)())
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return [plain_value(name, one) for one in value]
    return None if value is None else _number(name, value)


def _number(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    try:
        return float(value)  # Decimal, Fraction and their like
    except (TypeError, ValueError):
        raise DefinitionRejected(
            name, f"a {type(value).__name__} cannot be a metric; log numbers or texts"
        ) from None


# JSON has no word for these, and PostgreSQL takes no other; training logs them all the time.
_NOT_FINITE = "$float"


def to_wire(value: Any) -> Any:
    """The value in strict JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_NOT_FINITE: repr(value)}
    if isinstance(value, dict):
        return {key: to_wire(one) for key, one in value.items()}
    if isinstance(value, list):
        return [to_wire(one) for one in value]
    return value


def from_wire(value: Any) -> Any:
    """The value that `to_wire` was given."""
    if isinstance(value, dict):
        if list(value) == [_NOT_FINITE] and value[_NOT_FINITE] in ("nan", "inf", "-inf"):
            return float(value[_NOT_FINITE])
        return {key: from_wire(one) for key, one in value.items()}
    if isinstance(value, list):
        return [from_wire(one) for one in value]
    return value


def gather(metrics: Iterable[Metric]) -> dict[str, Any]:
    """Metrics by name, as Azure ML's `get_metrics` shows them.

    One value stays a value, several under one name become a list; rows and tables become columns.
    """
    named: dict[str, list[Metric]] = {}
    for metric in metrics:
        named.setdefault(metric.name, []).append(metric)
    return {name: _gathered(several) for name, several in named.items()}


def _gathered(metrics: Sequence[Metric]) -> Any:
    if metrics[0].kind in (MetricKind.ROW, MetricKind.TABLE):
        return _columns(metrics)
    values: list[Any] = []
    for metric in metrics:
        if metric.kind is MetricKind.LIST:
            values.extend(metric.value)
        else:
            values.append(metric.value)
    is_single = len(values) == 1 and metrics[0].kind is not MetricKind.LIST
    return values[0] if is_single else values


def _columns(metrics: Sequence[Metric]) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {}
    for metric in metrics:
        cells = metric.value if isinstance(metric.value, dict) else {metric.name: metric.value}
        for column, value in cells.items():
            columns.setdefault(column, []).extend(value if isinstance(value, list) else [value])
    return {column: cells[0] if len(cells) == 1 else cells for column, cells in columns.items()}
