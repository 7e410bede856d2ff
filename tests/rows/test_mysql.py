"""Rows of MySQL, shown on MariaDB."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import Engine

from datastores.credentials.kinds import Login
from datastores.errors import CredentialRefused, DefinitionRejected, NotFound, PermissionDenied
from datastores.secret import Secret
from datastores.storage.rows.batches import read_batches
from datastores.storage.rows.engine import check, open_engine
from datastores.storage.rows.query import Query
from tests.rows.conftest import MySqlPlace, checked_out


def test_types(mysql_place: MySqlPlace, mysql_engine: Engine) -> None:
    """Each MySQL type has its Arrow type, values come out exact, and NULL stays NULL."""
    mysql_place.execute(
        "CREATE TABLE t (a tinyint unsigned, b smallint, c int unsigned, d bigint,"
        " e bigint unsigned, f float, g double, h decimal(10,2), i decimal(50,3), j varchar(20),"
        " k text, l blob, m varbinary(5), n date, o time(6), p datetime(6), q timestamp(6) NULL,"
        " r year, s json, u enum('x','y'))",
        "SET time_zone = '+02:00'",
        "INSERT INTO t VALUES (255, -32768, 4294967295, -9223372036854775808,"
        " 18446744073709551615, 0.5, 1e300, -12345678.90, 1.001, '', 'a\\n\"b', x'00ff', 'ab',"
        " '2024-02-29', '-838:59:58', '2024-01-02 03:04:05.000006',"
        " '2024-01-02 03:04:05.000006', 2024, '{}', 'y')",
        "INSERT INTO t (a) VALUES (NULL)",
    )

    (batch,) = read_batches(mysql_engine, Query(table="t"))

    moment = dt.datetime(2024, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001 - MySQL's has no zone
    got = {field.name: (field.type, batch[field.name].to_pylist()[0]) for field in batch.schema}
    assert got == {
        "a": (pa.int16(), 255),
        "b": (pa.int32(), -32768),
        "c": (pa.int64(), 4294967295),
        "d": (pa.int64(), -9223372036854775808),
        "e": (pa.uint64(), 18446744073709551615),
        "f": (pa.float32(), 0.5),
        "g": (pa.float64(), 1e300),
        "h": (pa.decimal128(10, 2), Decimal("-12345678.90")),
        "i": (pa.decimal256(50, 3), Decimal("1.001")),
        "j": (pa.string(), ""),
        "k": (pa.string(), 'a\n"b'),
        "l": (pa.binary(), b"\x00\xff"),
        "m": (pa.binary(), b"ab"),
        "n": (pa.date32(), dt.date(2024, 2, 29)),
        "o": (pa.duration("us"), -dt.timedelta(hours=838, minutes=59, seconds=58)),
        "p": (pa.timestamp("us"), moment),
        "q": (
            pa.timestamp("us", tz="UTC"),
            moment.replace(tzinfo=dt.UTC) - dt.timedelta(hours=2),
        ),
        "r": (pa.int16(), 2024),
        "s": (pa.string(), "{}"),
        "u": (pa.string(), "y"),
    }
    assert set(batch.slice(1).to_pylist()[0].values()) == {None}


def test_streams_and_stops(mysql_place: MySqlPlace, mysql_engine: Engine) -> None:
    """Closing after the first batch of many rows ends the query and returns the connection."""
    rows = read_batches(
        mysql_engine,
        Query(text="SELECT seq, REPEAT('x', 100) AS t FROM seq_1_to_3000000"),
        batch_rows=1000,
    )
    first = next(rows)

    rows.close()

    assert (first.num_rows, checked_out(mysql_engine)) == (1000, 0)
    (after,) = read_batches(mysql_engine, Query(text="SELECT 1 AS one"))
    assert after.to_pylist() == [{"one": 1}]


def test_all_batches_have_one_schema(mysql_engine: Engine) -> None:
    """Every batch of a result has the same schema, and together they hold every row once."""
    query = Query(text="SELECT seq, NULLIF(seq % 2, 0) AS odd FROM seq_1_to_2500 ORDER BY seq")

    batches = list(read_batches(mysql_engine, query, batch_rows=1000))

    assert [batch.num_rows for batch in batches] == [1000, 1000, 500]
    assert len({batch.schema for batch in batches}) == 1
    assert pa.Table.from_batches(batches)["seq"].to_pylist() == list(range(1, 2501))


def test_empty_result_keeps_its_schema(mysql_engine: Engine) -> None:
    """A query without rows gives one empty batch with its columns."""
    (batch,) = read_batches(mysql_engine, Query(text="SELECT 1.5 AS x, 'a' AS y LIMIT 0"))

    fields: list[pa.Field[Any]] = [
        pa.field("x", pa.decimal128(2, 1)),
        pa.field("y", pa.string()),
    ]
    assert (batch.num_rows, batch.schema) == (0, pa.schema(fields))


def test_calls_a_procedure(mysql_place: MySqlPlace, mysql_engine: Engine) -> None:
    """A procedure's parameters arrive as values, whatever is in them."""
    mysql_place.execute("CREATE PROCEDURE echo(IN a TEXT, IN b INT) SELECT a AS a, b + 1 AS b")
    nasty = "'; DROP TABLE t; -- %s ?"

    (batch,) = read_batches(mysql_engine, Query(procedure="echo", parameters=[nasty, 41]))

    assert batch.to_pylist() == [{"a": nasty, "b": 42}]


def test_queries_cannot_write(mysql_place: MySqlPlace, mysql_engine: Engine) -> None:
    """A query text that writes is refused and changes nothing."""
    mysql_place.execute("CREATE TABLE t (a int)")

    with pytest.raises(DefinitionRejected, match="READ ONLY"):
        list(read_batches(mysql_engine, Query(text="INSERT INTO t VALUES (1)")))

    (batch,) = read_batches(mysql_engine, Query(text="SELECT COUNT(*) AS n FROM t"))
    assert batch.to_pylist() == [{"n": 0}]


def test_the_connection_is_encrypted(mysql_engine: Engine) -> None:
    """Without a word about it, the connection uses TLS."""
    (batch,) = read_batches(mysql_engine, Query(text="SHOW STATUS LIKE 'Ssl_version'"))

    assert batch.to_pylist()[0]["Value"].startswith("TLS")


def test_an_unknown_certificate_is_refused(
    mysql_place: MySqlPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that nobody vouches for ends the connection before the password is sent."""
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(DefinitionRejected) as refused:
        check(mysql_place.definition, mysql_place.login)

    assert "certificate" in refused.value.reason
    assert "SSL_CERT_FILE" in refused.value.reason


def test_without_tls(mysql_place: MySqlPlace) -> None:
    """`enforce_ssl=False` connects in the clear."""
    engine = open_engine(replace(mysql_place.definition, enforce_ssl=False), mysql_place.login)
    try:
        (batch,) = read_batches(engine, Query(text="SHOW STATUS LIKE 'Ssl_version'"))
    finally:
        engine.dispose()

    assert batch.to_pylist()[0]["Value"] == ""


def test_wrong_password(mysql_place: MySqlPlace) -> None:
    """A wrong password is `CredentialRefused` and is not in the sentence."""
    wrong = Secret("not-the-password-7")

    with pytest.raises(CredentialRefused) as refused:
        check(mysql_place.definition, Login(mysql_place.login.username, wrong))

    assert refused.value.store == "warehouse"
    assert wrong.reveal() not in str(refused.value)


def test_unknown_database(mysql_place: MySqlPlace) -> None:
    """A database that is not there is `NotFound` under its name."""
    with pytest.raises(NotFound) as missing:
        check(replace(mysql_place.definition, database="nowhere"), mysql_place.login)

    assert missing.value.key == "nowhere"


def test_unknown_table(mysql_engine: Engine) -> None:
    """A table that is not there is `NotFound` under its name."""
    with pytest.raises(NotFound) as missing:
        list(read_batches(mysql_engine, Query(table="nowhere")))

    assert (missing.value.key or "").endswith("nowhere")


def test_no_permission(mysql_place: MySqlPlace) -> None:
    """A table the user may not read is `PermissionDenied` under its name."""
    user = f"u_{mysql_place.definition.database[3:20]}"
    mysql_place.execute(
        "CREATE TABLE closed (a int)",
        "CREATE TABLE open (a int)",
        f"CREATE USER {user}@'%' IDENTIFIED BY 'reader-password'",
        f"GRANT SELECT ON open TO {user}@'%'",
    )
    engine = open_engine(mysql_place.definition, Login(user, Secret("reader-password")))
    try:
        with pytest.raises(PermissionDenied) as denied:
            list(read_batches(engine, Query(table="closed")))
    finally:
        engine.dispose()

    assert (denied.value.key or "").endswith("closed")
