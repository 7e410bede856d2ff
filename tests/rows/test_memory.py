"""Memory stays where it is while rows pass through."""

from __future__ import annotations

import pytest

from tests.rows.campaign import TABLE, measure
from tests.rows.conftest import Place


@pytest.mark.parametrize("way", ["batches", "parquet"])
def test_memory_does_not_grow_with_rows(place: Place, way: str) -> None:
    """Ten times the rows cost no more memory, and the peak is below 256 MiB."""
    place.execute("CREATE UNLOGGED TABLE t AS " + TABLE.format(rows=1_000_000))
    database = place.definition.database

    few = measure(place.server, database, way, "SELECT * FROM t LIMIT 100000")
    many = measure(place.server, database, way)

    assert (few["rows"], many["rows"]) == (100_000, 1_000_000)
    assert many["peak_mib"] < 256
    assert many["peak_mib"] - few["peak_mib"] < 48
