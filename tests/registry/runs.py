"""Runs as tests make them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from datastores.history.metrics import Metric, MetricKind
from datastores.history.records import ExperimentName, RunId, RunRecord

BEGIN = datetime(2031, 5, 4, 3, 2, 1, 654321, tzinfo=UTC)


def run_record(run_id: str = "cats_1", experiment: str = "cats", **fields: Any) -> RunRecord:
    return RunRecord(RunId(run_id), ExperimentName(experiment), **fields)


def metric(name: str = "loss", value: Any = 0.5, **fields: Any) -> Metric:
    return Metric(name, fields.pop("kind", MetricKind.SCALAR), value, **fields)


def moment(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)
