"""What may be logged, and how it is shown."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.errors import DefinitionRejected
from datastores.history.metrics import (
    Metric,
    MetricKind,
    from_wire,
    gather,
    plain_value,
    scalar,
    to_wire,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.25), 0.25),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array(3.5), 3.5),
        (Decimal("1.5"), 1.5),
        (pd.Timestamp("2031-01-02T03:04:05"), "2031-01-02T03:04:05"),
        ("text", "text"),
        (None, None),
        (True, True),
    ],
    ids=str,
)
def test_single_values_become_pythons_own(given: Any, plain: Any) -> None:
    """A value of numpy or pandas is logged as the plain value it stands for, of a plain type."""
    found = scalar("loss", given)

    assert (found, type(found)) == (plain, type(plain))


@pytest.mark.parametrize(
    "given",
    [[1], range(3), (x for x in "ab"), {"a": 1}, np.zeros(2)],
    ids=lambda given: type(given).__name__,
)
def test_log_takes_one_value(given: Any) -> None:
    """Lists, ranges, generators, dictionaries and arrays are refused with the method to use."""
    with pytest.raises(DefinitionRejected, match=r'"loss".*use log_list or log_table'):
        scalar("loss", given)


@pytest.mark.parametrize(
    "given",
    [object(), b"bytes", [object()], {"a": {1j}}],
    ids=["object", "bytes", "object in a list", "set in a dict"],
)
def test_what_is_no_value_is_refused(given: Any) -> None:
    """Things that JSON has no word for are refused by name, wherever they are inside."""
    with pytest.raises(DefinitionRejected, match=r'"loss".*cannot be a metric'):
        plain_value("loss", given)


@given(PLAIN)
def test_values_survive_strict_json(value: Any) -> None:
    """Any plain value comes back from strict JSON with its type, NaN and infinities included."""
    text = json.dumps(to_wire(value), allow_nan=False)

    assert repr(from_wire(json.loads(text))) == repr(value)


def test_metrics_are_gathered_as_azure_ml_shows_them() -> None:
    """One scalar is a value, several are a list; a list stays one; rows and tables are columns."""
    row, table, listed = MetricKind.ROW, MetricKind.TABLE, MetricKind.LIST
    logged = [
        Metric("one", MetricKind.SCALAR, 1.5),
        Metric("series", MetricKind.SCALAR, 1),
        Metric("series", MetricKind.SCALAR, 2),
        Metric("short list", listed, [1]),
        Metric("long list", listed, [1, 2]),
        Metric("long list", listed, [3]),
        Metric("row", row, {"a": 1, "b": 2}),
        Metric("rows", row, {"a": 1, "b": 2}),
        Metric("rows", row, {"a": 3, "b": 4}),
        Metric("table", table, {"a": [1, 2], "b": ["x", "y"]}),
        Metric("matrix", MetricKind.CONFUSION_MATRIX, {"data": {}}),
        Metric("picture", MetricKind.IMAGE, "images/a.png"),
    ]

    assert gather(logged) == {
        "one": 1.5,
        "series": [1, 2],
        "short list": [1],
        "long list": [1, 2, 3],
        "row": {"a": 1, "b": 2},
        "rows": {"a": [1, 3], "b": [2, 4]},
        "table": {"a": [1, 2], "b": ["x", "y"]},
        "matrix": {"data": {}},
        "picture": "images/a.png",
    }
    assert math.isnan(gather([Metric("x", MetricKind.SCALAR, math.nan)])["x"])
