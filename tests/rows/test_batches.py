"""Rows of a real PostgreSQL as typed batches."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Sequence
from decimal import Decimal
from math import inf, isnan

import psycopg2
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from datastores.errors import DefinitionRejected, Unsupported
from datastores.storage.rows.batches import read_batches, read_frame
from datastores.storage.rows.query import Query
from tests.rows.conftest import Place, checked_out

# ruff: noqa: DTZ001, DTZ901 - PostgreSQL has moments without a zone, and their extremes

UTC = dt.UTC
# Expression, Arrow type, value; each is read beside a NULL of the same type.
TYPES: Sequence[tuple[str, pa.DataType, object]] = [
    ("true", pa.bool_(), True),
    ("'-32768'::int2", pa.int16(), -32768),
    ("'-2147483648'::int4", pa.int32(), -2147483648),
    ("'-9223372036854775808'::int8", pa.int64(), -9223372036854775808),
    ("0.1::float4", pa.float32(), 0.10000000149011612),
    ("0.1::float8", pa.float64(), 0.1),
    ("'5e-324'::float8", pa.float64(), 5e-324),
    ("'-Infinity'::float8", pa.float64(), -inf),
    ("'-12345678.90'::numeric(10,2)", pa.decimal128(10, 2), Decimal("-12345678.90")),
    ("0.00012::numeric(3,5)", pa.decimal128(5, 5), Decimal("0.00012")),
    ("12000::numeric(2,-3)", pa.decimal128(5, 0), Decimal(12000)),
    ("1.001::numeric(50,3)", pa.decimal256(50, 3), Decimal("1.001")),
    ("1.5::numeric(90,1)", pa.string(), "1.5"),
    ("1.25::numeric", pa.float64(), 1.25),
    ("''::text", pa.string(), ""),
    ("'NULL'::text", pa.string(), "NULL"),
    (r"'\N'::text", pa.string(), r"\N"),
    (r"E'a\nb\r\n\"c\",\td\\.'::text", pa.string(), 'a\nb\r\n"c",\td\\.'),
    ("' sp '::varchar(9)", pa.string(), " sp "),
    ("'x'::char(3)", pa.string(), "x  "),
    ("'grüße 🚀'::text", pa.string(), "grüße 🚀"),
    (r"'\x00ff0a22'::bytea", pa.binary(), b'\x00\xff\n"'),
    (r"'\x'::bytea", pa.binary(), b""),
    ("'2024-02-29'::date", pa.date32(), dt.date(2024, 2, 29)),
    ("'infinity'::date", pa.date32(), dt.date.max),
    ("'-infinity'::date", pa.date32(), dt.date.min),
    ("'23:59:59.999999'::time", pa.time64("us"), dt.time(23, 59, 59, 999999)),
    (
        "'2024-01-02 03:04:05.06'::timestamp",
        pa.timestamp("us"),
        dt.datetime(2024, 1, 2, 3, 4, 5, 60000),
    ),
    ("'0001-01-01'::timestamp", pa.timestamp("us"), dt.datetime.min),
    ("'infinity'::timestamp", pa.timestamp("us"), dt.datetime.max),
    (
        "'2024-01-02 03:04:05+02'::timestamptz",
        pa.timestamp("us", tz="UTC"),
        dt.datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC),
    ),
    (
        "'infinity'::timestamptz",
        pa.timestamp("us", tz="UTC"),
        dt.datetime.max.replace(tzinfo=UTC),
    ),
    (
        "'00112233-4455-6677-8899-aabbccddeeff'::uuid",
        pa.string(),
        "00112233-4455-6677-8899-aabbccddeeff",
    ),
    ("'{\"a\":  1}'::json", pa.string(), '{"a":  1}'),
    ("'{\"a\":  1}'::jsonb", pa.string(), '{"a": 1}'),
    ("'1 mon 2 days 03:00'::interval", pa.string(), "P1M2DT3H"),
    ("'happy'::mood", pa.string(), "happy"),
    ("'10.0.0.1'::inet", pa.string(), "10.0.0.1"),
    ("'{1,NULL,3}'::int4[]", pa.list_(pa.int32()), [1, None, 3]),
    ("'{}'::int4[]", pa.list_(pa.int32()), []),
    ("'[0:1]={4,5}'::int4[]", pa.list_(pa.int32()), [4, 5]),
    ("'{0.5,NaN,-Infinity}'::float4[]", pa.list_(pa.float32()), [0.5, "nan", -inf]),
    ("'{t,f,NULL}'::bool[]", pa.list_(pa.bool_()), [True, False, None]),
    ("'{1.5}'::numeric(4,1)[]", pa.list_(pa.float64()), [1.5]),
    ("'{2024-01-02,infinity}'::date[]", pa.list_(pa.date32()), [dt.date(2024, 1, 2), dt.date.max]),
    ("'{03:04:05}'::time[]", pa.list_(pa.time64("us")), [dt.time(3, 4, 5)]),
    (
        "'{2024-01-02 00:00+02}'::timestamptz[]",
        pa.list_(pa.timestamp("us", tz="UTC")),
        [dt.datetime(2024, 1, 1, 22, tzinfo=UTC)],
    ),
    (r"ARRAY['\x00ff'::bytea]", pa.list_(pa.binary()), [b"\x00\xff"]),
    ("'{happy,sad}'::mood[]", pa.list_(pa.string()), ["happy", "sad"]),
]


@pytest.fixture
def mood(place: Place) -> None:
    place.execute("CREATE TYPE mood AS ENUM ('happy', 'sad')")


@pytest.mark.usefixtures("mood")
def test_types(engine: Engine) -> None:
    """Each PostgreSQL type has its Arrow type, values come out exact, and NULL stays NULL."""
    for expression, kind, value in TYPES:
        # A join, since a UNION or a CASE with NULL would forget a numeric's precision.
        query = Query(
            text=f"SELECT v FROM generate_series(1, 3) g LEFT JOIN (SELECT {expression} AS v) e"
            " ON g <> 2 ORDER BY g"
        )

        (batch,) = read_batches(engine, query)

        got = [_comparable(value) for value in batch["v"].to_pylist()]
        assert (expression, batch["v"].type, got) == (expression, kind, [value, None, value])


@pytest.mark.usefixtures("mood")
def test_types_of_an_empty_result(engine: Engine) -> None:
    """The schema is decided before the first row, so a result without rows has it too."""
    for expression, kind, _ in TYPES:
        (batch,) = read_batches(engine, Query(text=f"SELECT {expression} AS v WHERE false"))

        want = pa.schema([("v", kind)])
        assert (expression, batch.num_rows, batch.schema) == (expression, 0, want)


def _comparable(value: object) -> object:
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return "nan" if isinstance(value, float) and isnan(value) else value


ROWS = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        st.none() | st.binary(),
        st.none()
        | st.lists(
            st.none()
            | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
            | st.sampled_from(["NULL", "null", "{}", '"', "\\", ",", ""])
        ),
        st.none() | st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
        st.none() | st.floats(width=64, allow_nan=False),
    ),
    max_size=8,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=ROWS)
def test_what_goes_in_comes_out(place: Place, engine: Engine, rows: Sequence[object]) -> None:
    """Any texts, bytes and arrays of them come out as they went in, whatever they hold."""
    url = place.server.url(place.definition.database, password=True)
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS t")
            cursor.execute(
                "CREATE TABLE t (id serial, a text, b bytea, c text[], d int8[], e float8)"
            )
            for row in rows:
                cursor.execute(
                    "INSERT INTO t (a, b, c, d, e) VALUES (%s, %s, %s::text[], %s::int8[], %s)",
                    row,
                )
    finally:
        connection.close()

    batches = read_batches(engine, Query(text="SELECT a, b, c, d, e FROM t ORDER BY id"))

    table = pa.Table.from_batches(batches)
    got = [tuple(row.values()) for row in table.to_pylist()]
    assert got == list(rows)


def test_batches_have_one_schema(engine: Engine) -> None:
    """Every batch has the same schema and no more rows than asked for; no row is lost."""
    query = Query(text="SELECT g, NULLIF(g % 2, 0) AS odd FROM generate_series(1, 2500) g")

    batches = list(read_batches(engine, query, batch_rows=1000))

    assert [batch.num_rows for batch in batches] == [1000, 1000, 500]
    assert len({batch.schema for batch in batches}) == 1
    assert pa.Table.from_batches(batches)["g"].to_pylist() == list(range(1, 2501))


def test_a_row_larger_than_a_block(engine: Engine) -> None:
    """A single value of twenty megabytes arrives whole, between two small ones."""
    query = Query(text="SELECT repeat('x', n) AS v FROM unnest(ARRAY[1, 20000000, 2]) n")

    sizes = [
        len(value or "")
        for batch in read_batches(engine, query)
        for value in batch["v"].to_pylist()
    ]

    assert sizes == [1, 20_000_000, 2]


def test_one_column_of_nulls(engine: Engine) -> None:
    """Rows that are nothing but a NULL are rows, also the last one."""
    (batch,) = read_batches(engine, Query(text="SELECT NULL::int AS v FROM generate_series(1, 3)"))

    assert batch.to_pylist() == [{"v": None}] * 3


def test_one_snapshot(place: Place, engine: Engine) -> None:
    """Rows that others add while the result is read are not in it."""
    place.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 300000) g")
    batches = read_batches(engine, Query(table="t"), batch_rows=1000)

    rows = next(batches).num_rows
    place.execute("INSERT INTO t SELECT g FROM generate_series(1, 1000) g", "DELETE FROM t")
    rows += sum(batch.num_rows for batch in batches)

    assert rows == 300_000


def test_closing_early(place: Place, engine: Engine) -> None:
    """Closing after the first batch ends the query on the server and returns the connection."""
    batches = read_batches(
        engine, Query(text="SELECT generate_series(1, 50000000) AS g"), batch_rows=100
    )
    next(batches)

    batches.close()

    names = [thread.name for thread in threading.enumerate()]
    running = place.execute(
        "SELECT pg_sleep(0.5)",
        "SELECT query FROM pg_stat_activity WHERE application_name = 'datastores'"
        " AND datname = current_database() AND state = 'active'",
    )
    assert ("datastores-copy" in names, checked_out(engine), running) == (False, 0, [])
    (after,) = read_batches(engine, Query(text="SELECT 1 AS one"))
    assert after.to_pylist() == [{"one": 1}]


def test_procedure(place: Place, engine: Engine) -> None:
    """A function is called once, its parameters arrive as values, and what it wrote stays."""
    place.execute(
        "CREATE TABLE calls (who text)",
        "CREATE FUNCTION greet(who text, times int) RETURNS TABLE (line text) LANGUAGE sql AS $$"
        " INSERT INTO calls VALUES (who);"
        " SELECT 'hi ' || who FROM generate_series(1, times) $$",
    )
    nasty = "'; DROP TABLE calls; -- %s"

    batches = read_batches(engine, Query(procedure="greet", parameters={"times": 2, "who": nasty}))

    lines = [row["line"] for batch in batches for row in batch.to_pylist()]
    calls = place.execute("SELECT who FROM calls")
    assert (lines, calls) == ([f"hi {nasty}"] * 2, [(nasty,)])


def test_queries_cannot_write(place: Place, engine: Engine) -> None:
    """A query that calls a writing function is refused and changes nothing."""
    place.execute(
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION sly() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING a'",
    )

    with pytest.raises(DefinitionRejected, match="read-only"):
        list(read_batches(engine, Query(text="SELECT sly() AS x")))

    assert place.execute("SELECT a FROM t") == []


@pytest.mark.parametrize(
    "expression",
    [
        "'NaN'::numeric(4,1)",
        "'0044-03-15 BC'::date",
        "'12024-01-01'::timestamp",
        "'24:00'::time",
        "'{{1,2},{3,4}}'::int4[]",
    ],
)
def test_what_arrow_cannot_hold(engine: Engine, expression: str) -> None:
    """A value that fits no Arrow type names its column and the cast that helps; none is altered."""
    with pytest.raises(Unsupported) as unfit:
        list(read_batches(engine, Query(text=f"SELECT 1 AS good, {expression} AS bad")))

    assert (unfit.value.key, "CAST" in unfit.value.detail) == ("bad", True)


def test_text_of_a_query_may_end_in_a_comment(engine: Engine) -> None:
    """A comment on the last line does not swallow what is put around the query."""
    (batch,) = read_batches(engine, Query(text="WITH a AS (SELECT 1 AS x) SELECT * FROM a -- all"))

    assert batch.to_pylist() == [{"x": 1}]


def test_frame(engine: Engine) -> None:
    """A frame keeps whole numbers and booleans exact beside NULLs."""
    frame = read_frame(
        engine,
        Query(
            text="SELECT * FROM (VALUES (9007199254740993::int8, true, 1::int2, 'a'),"
            " (NULL, NULL, 2::int2, NULL)) AS t (big, flag, small, word)"
        ),
    )

    kinds = {name: str(kind) for name, kind in frame.dtypes.items() if name != "word"}
    rows = json.loads(frame.to_json(orient="records"))
    assert kinds == {"big": "Int64", "flag": "boolean", "small": "int16"}
    assert (frame["big"][0], rows[1]) == (
        9007199254740993,
        {"big": None, "flag": None, "small": 2, "word": None},
    )
