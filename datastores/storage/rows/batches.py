"""Rows as Arrow batches and as a pandas frame."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from typing import TYPE_CHECKING

from datastores.errors import Unsupported
from datastores.secret import masked
from datastores.storage.rows.engine import check_out, definition_of
from datastores.storage.rows.failures import translate
from datastores.storage.rows.query import Dialect, Query, to_sql

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import PoolProxiedConnection

BATCH_ROWS = 65_536


def read_batches(
    engine: Engine, query: Query, *, batch_rows: int = BATCH_ROWS
) -> Generator[pa.RecordBatch]:
    """Batches of at most `batch_rows` rows, all of one schema; at least one, if an empty one.

    All rows are of one snapshot. Nothing is asked before the first `next`; memory is bounded by a
    few batches; `close()` ends the query and gives the connection back. A table and a query text
    can only read; a stored procedure may write, and what it wrote is committed after its last row.
    """
    store = definition_of(engine).name
    require_arrow(store)
    dialect = Dialect(engine.dialect.name)
    statement = to_sql(query, dialect)
    raw = check_out(engine)
    is_done = False
    try:
        connection = _dbapi(raw)
        if dialect is Dialect.POSTGRESQL:
            from datastores.storage.rows.copying import copy_batches

            read_only = query.procedure is None
            yield from copy_batches(
                connection, statement, batch_rows, read_only=read_only, store=store
            )
        else:
            from datastores.storage.rows.fetching import fetch_batches

            yield from fetch_batches(connection, query, dialect, batch_rows, store=store)
        is_done = True
    except engine.dialect.loaded_dbapi.Error as error:
        raise translate(error, definition_of(engine)) from masked(error)
    finally:
        if not is_done:
            raw.invalidate()
        raw.close()


def _dbapi(raw: PoolProxiedConnection) -> DBAPIConnection:
    connection = raw.dbapi_connection
    assert connection is not None
    return connection


def read_frame(engine: Engine, query: Query) -> pd.DataFrame:
    """All rows in memory; whole numbers and booleans stay what they are beside NULLs."""
    import pyarrow as pa

    require_arrow(definition_of(engine).name)
    table = pa.Table.from_batches(read_batches(engine, query))
    return _to_frame(table)


def _to_frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    # NumPy has no whole number and no boolean that is absent; Arrow would turn them into floats
    # and objects, and a 64-bit key into another key.
    nullable = {
        pa.bool_(): pd.BooleanDtype(),
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
    }
    return pd.DataFrame(
        {
            name: column.to_pandas(types_mapper=nullable.get if column.null_count else None)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )


def require_arrow(store: str) -> None:
    """`Unsupported` with the command to run, where pandas or pyarrow is not installed."""
    missing = [name for name in ("pyarrow", "pandas") if not _is_installed(name)]
    if missing:
        raise Unsupported(
            store,
            detail=f"reading rows needs {' and '.join(missing)}; "
            "run: pip install 'datastores[datasets]'",
        )


def _is_installed(name: str) -> bool:
    # An entry of None in sys.modules makes find_spec raise, an absent package makes it None.
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:
        return False
