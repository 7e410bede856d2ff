"""Rows through the driver's own cursor, for databases without a bulk form of reading."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import pyarrow as pa

from datastores.errors import Unsupported
from datastores.storage.rows.columns import Column, empty_batch, schema_of
from datastores.storage.rows.driver_columns import mysql_columns, sql_server_columns
from datastores.storage.rows.query import Dialect, Query, to_sql


def fetch_batches(
    connection: Any, query: Query, dialect: Dialect, batch_rows: int, *, store: str
) -> Generator[pa.RecordBatch]:
    """Batches of one snapshot, at least one; when closed early the connection is unusable."""
    statement = to_sql(query, dialect)
    cursor = _begin(connection, dialect, read_only=query.procedure is None)
    try:
        # Without parameters the drivers leave percent signs and question marks alone.
        arguments = (statement.parameters,) if statement.parameters else ()
        cursor.execute(statement.text, *arguments)
        columns = _columns(cursor, dialect)
        is_empty = True
        while rows := cursor.fetchmany(batch_rows):
            is_empty = False
            yield _batch(rows, columns, store)
        if is_empty:
            yield empty_batch(columns)
    except BaseException:
        _drop(cursor, dialect)
        raise
    cursor.close()
    if query.procedure is not None:
        connection.commit()


def _begin(connection: Any, dialect: Dialect, *, read_only: bool) -> Any:
    if dialect is Dialect.SQL_SERVER:
        return _begin_sql_server(connection)
    from pymysql.cursors import SSCursor

    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        access = "READ ONLY" if read_only else "READ WRITE"
        cursor.execute(f"START TRANSACTION WITH CONSISTENT SNAPSHOT, {access}")
    return connection.cursor(SSCursor)


def _begin_sql_server(connection: Any) -> Any:
    cursor = connection.cursor()
    # On in Azure SQL; a server of one's own may have it off, and then locks keep the rows still.
    cursor.execute("SELECT snapshot_isolation_state FROM sys.databases WHERE database_id = DB_ID()")
    row = cursor.fetchone()
    connection.rollback()
    level = "SNAPSHOT" if row is not None and row[0] == 1 else "SERIALIZABLE"
    cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
    return cursor


def _drop(cursor: Any, dialect: Dialect) -> None:
    # MySQL's streaming cursor and its result read all the rest when they are let go, unless told
    # that it is over; the caller throws the connection away.
    if dialect is Dialect.MYSQL:
        result = cursor._result  # noqa: SLF001 - there is no public way to give up a result
        if result is not None:
            result.unbuffered_active = False
        cursor.connection = None


def _columns(cursor: Any, dialect: Dialect) -> tuple[Column, ...]:
    if dialect is Dialect.MYSQL:
        return mysql_columns(_mysql_fields(cursor))
    return sql_server_columns(cursor.description or ())


def _mysql_fields(cursor: Any) -> Sequence[Any]:
    # The public description has neither signs nor character sets.
    return getattr(cursor._result, "fields", ())  # noqa: SLF001 - see above


def _batch(
    rows: Sequence[Sequence[object]], columns: Sequence[Column], store: str
) -> pa.RecordBatch:
    values = zip(*rows, strict=True)
    arrays = [_array(value, column, store) for value, column in zip(values, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema_of(columns))


def _array(values: Sequence[object], column: Column, store: str) -> pa.Array[Any]:
    try:
        if pa.types.is_string(column.type):
            # A UUID or a geometry has no Arrow type; its text is what the server shows too.
            values = [value if value is None else str(value) for value in values]
        return pa.array(values, type=column.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise Unsupported(
            store,
            column.name,
            f"a value of this column does not fit {column.type}; select it as text with CAST",
        ) from error
