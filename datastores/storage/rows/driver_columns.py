"""Arrow types from what the MySQL and SQL Server drivers say about a result."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from datastores.errors import DefinitionRejected
from datastores.storage.rows.columns import UTC_TIMESTAMP, Column, check_names, decimal_column

# Numbers of the MySQL protocol.
_BIT, _DECIMAL = 16, (0, 246)
_UNSIGNED_FLAG, _BINARY_CHARSET, _JSON = 32, 63, 245
_TEXTS = frozenset({15, 249, 250, 251, 252, 253, 254, 255})
_MYSQL: Mapping[int, pa.DataType] = {
    1: pa.int16(),  # tinyint, also unsigned
    2: pa.int32(),  # smallint
    3: pa.int64(),  # int
    4: pa.float32(),
    5: pa.float64(),
    6: pa.string(),  # the type of a bare NULL
    7: UTC_TIMESTAMP,  # timestamp; the session's zone is UTC
    8: pa.int64(),
    9: pa.int32(),  # mediumint
    10: pa.date32(),
    11: pa.duration("us"),  # time, which is a length of up to 838 hours
    12: pa.timestamp("us"),
    13: pa.int16(),  # year
    _JSON: pa.string(),
}


def mysql_columns(fields: Sequence[Any]) -> tuple[Column, ...]:
    """Columns for the fields of a result, as the protocol describes them."""
    if not fields:
        raise DefinitionRejected("query", "it returns no rows; write a SELECT")
    check_names([field.name for field in fields])
    return tuple(_mysql_column(field) for field in fields)


def _mysql_column(field: Any) -> Column:
    code, is_unsigned = field.type_code, bool(field.flags & _UNSIGNED_FLAG)
    if code in _DECIMAL:
        # The length counts the sign and the point.
        digits = field.length - (not is_unsigned) - (field.scale > 0)
        return decimal_column(field.name, digits, field.scale)
    if code == _BIT or (code in _TEXTS and field.charsetnr == _BINARY_CHARSET):
        return Column(field.name, pa.binary())
    if code == 8 and is_unsigned:
        return Column(field.name, pa.uint64())
    return Column(field.name, _MYSQL.get(code, pa.string()))


_SQL_SERVER: Mapping[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    bytes: pa.binary(),
    bytearray: pa.binary(),
    dt.datetime: pa.timestamp("us"),
    dt.date: pa.date32(),
    dt.time: pa.time64("us"),
    uuid.UUID: pa.string(),
    str: pa.string(),
}


def sql_server_columns(description: Sequence[Sequence[Any]]) -> tuple[Column, ...]:
    """Columns for a cursor's description, whose second part is a Python type."""
    if not description:
        raise DefinitionRejected("query", "it returns no rows; write a SELECT")
    check_names([column[0] for column in description])
    return tuple(_sql_server_column(column) for column in description)


def _sql_server_column(column: Sequence[Any]) -> Column:
    name, kind, _, _, precision, scale, *_ = column
    if kind is decimal.Decimal:
        return decimal_column(name, precision, scale)
    return Column(name, _SQL_SERVER.get(kind, pa.string()))
