"""The Arrow type of each column, decided from what the server says before the first row."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from datastores.errors import DefinitionRejected
from datastores.value import Value

UTC_TIMESTAMP = pa.timestamp("us", tz="UTC")


class Wire(enum.Enum):
    """How a value is written in PostgreSQL's text form."""

    PLAIN = "as Arrow's CSV reader understands it"
    HEX = "bytes as hexadecimal digits"
    WIDE = "a decimal beyond 38 digits"
    ARRAY = "elements between braces"


class Column(Value):
    """A column's name, its Arrow type, and the form its values arrive in."""

    name: str
    type: pa.DataType
    wire: Wire = Wire.PLAIN
    element: Column | None = None


class Described(Value):
    """A column as PostgreSQL describes it; precision and scale belong to numerics."""

    name: str
    oid: int
    precision: int | None = None
    scale: int | None = None


_TYPES: Mapping[int, pa.DataType] = {
    16: pa.bool_(),
    18: pa.string(),  # "char"
    19: pa.string(),  # name
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.string(),  # text
    26: pa.int64(),  # oid
    114: pa.string(),  # json
    700: pa.float32(),
    701: pa.float64(),
    1042: pa.string(),  # char(n)
    1043: pa.string(),  # varchar
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: UTC_TIMESTAMP,
    1186: pa.string(),  # interval, which has months and so no fixed length
    2950: pa.string(),  # uuid
    3802: pa.string(),  # jsonb
}
_BYTEA, _NUMERIC = 17, 1700


def is_known(oid: int) -> bool:
    """Whether the type needs no look into the server's catalogue."""
    return oid in _TYPES or oid in (_BYTEA, _NUMERIC)


def postgresql_columns(
    described: Sequence[Described], elements: Mapping[int, int]
) -> tuple[Column, ...]:
    """Columns for a description; `elements` says of which type the unknown types are arrays.

    What is neither known nor an array (enums, addresses, ranges, ...) arrives as text.
    """
    check_names([column.name for column in described])
    return tuple(_postgresql_column(column, elements) for column in described)


def check_names(names: Sequence[str]) -> None:
    """Refuse results that no table file can hold."""
    if not names:
        raise DefinitionRejected("query", "it has no columns; select at least one")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DefinitionRejected(
            "query", f'it has more than one column "{twice[0]}"; rename one with AS'
        )


def _postgresql_column(column: Described, elements: Mapping[int, int]) -> Column:
    if column.oid == _BYTEA:
        return Column(column.name, pa.binary(), Wire.HEX)
    if column.oid == _NUMERIC:
        return decimal_column(column.name, column.precision, column.scale)
    if column.oid in elements:
        element = _postgresql_column(Described("element", elements[column.oid]), {})
        return Column(column.name, pa.list_(element.type), Wire.ARRAY, element)
    return Column(column.name, _TYPES.get(column.oid, pa.string()))


def decimal_column(name: str, precision: int | None, scale: int | None) -> Column:
    """Exact while Arrow can hold it, text beyond; a float where no precision is declared.

    An undeclared numeric is what `avg` and `sum` return: training code wants numbers there, and no
    scale that fits every value can be known before the last row.
    """
    if precision is None or scale is None:
        return Column(name, pa.float64())
    # A negative scale rounds to tens; a scale beyond the precision has leading zeros.
    digits, scale = max(precision - min(scale, 0), scale), max(scale, 0)
    if digits <= 38:
        return Column(name, pa.decimal128(digits, scale))
    if digits <= 76:
        return Column(name, pa.decimal256(digits, scale), Wire.WIDE)
    return Column(name, pa.string())


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The schema every batch of these columns has."""
    return pa.schema([pa.field(column.name, column.type) for column in columns])


def empty_batch(columns: Sequence[Column]) -> pa.RecordBatch:
    """No rows, and all that is known about them."""
    arrays = [pa.array([], column.type) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema_of(columns))
