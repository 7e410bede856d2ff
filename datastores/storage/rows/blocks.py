"""From a block of PostgreSQL's CSV to a typed batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv

from datastores.errors import Unsupported
from datastores.storage.rows.arrays import decode_arrays, decode_hex, pc
from datastores.storage.rows.columns import Column, Wire, schema_of

# As in `arrays`: the types others wrote for this module leave half of it out.
csv: Any = pyarrow.csv

# The extremes of PostgreSQL's calendar have no number; Python's drivers give these in their place.
_ENDS = {
    "date": ("0001-01-01", "9999-12-31"),
    "moment": ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"),
}


def parse_block(block: bytes, columns: Sequence[Column], store: str) -> pa.RecordBatch:
    """The batch that complete rows of CSV stand for; `Unsupported` names a column that cannot."""
    try:
        texts = _parse_csv(block, [_csv_type(column) for column in columns])
        values = [_finish(text, column) for text, column in zip(texts, columns, strict=True)]
    except (pa.ArrowInvalid, ValueError):
        values = _parse_with_care(block, columns, store)
    return pa.RecordBatch.from_arrays(values, schema=schema_of(columns))


def _csv_type(column: Column) -> pa.DataType:
    return column.type if column.wire is Wire.PLAIN else pa.string()


def _parse_csv(block: bytes, types: Sequence[pa.DataType]) -> list[pa.Array[Any]]:
    names = [str(place) for place in range(len(types))]
    table = csv.read_csv(
        pa.BufferReader(block),
        # One chunk: the block is already as large as a batch may be.
        csv.ReadOptions(column_names=names, block_size=len(block) + 1),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)),
            # NULL is an empty field, an empty text is a quoted one.
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    return list(table.combine_chunks().to_batches()[0].columns)


def _finish(texts: pa.Array[Any], column: Column) -> pa.Array[Any]:
    match column.wire:
        case Wire.PLAIN:
            return texts
        case Wire.HEX:
            return decode_hex(texts)
        case Wire.WIDE:
            return texts.cast(column.type)
        case Wire.ARRAY:
            return _finish_arrays(texts, column)


def _finish_arrays(texts: pa.Array[Any], column: Column) -> pa.Array[Any]:
    assert column.element is not None
    element = column.element
    return decode_arrays(texts, lambda values: _from_texts(values, element))


def _parse_with_care(block: bytes, columns: Sequence[Column], store: str) -> list[pa.Array[Any]]:
    """Column by column, with infinite dates brought to the ends of Python's calendar.

    Several times slower, and only for blocks that hold a value Arrow does not read.
    """
    texts = _parse_csv(block, [pa.string()] * len(columns))
    values = []
    for text, column in zip(texts, columns, strict=True):
        try:
            values.append(_from_texts(text, column))
        except (pa.ArrowInvalid, ValueError) as error:
            raise Unsupported(
                store,
                column.name,
                f"a value of this column does not fit {column.type}; "
                f'select it as text: CAST("{column.name}" AS text)',
            ) from error
    return values


def _from_texts(texts: pa.Array[Any], column: Column) -> pa.Array[Any]:
    if column.wire is not Wire.PLAIN:
        return _finish(texts, column)
    if pa.types.is_string(column.type):
        return texts
    if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type):
        texts = _within_calendar(texts, column.type)
    # The CSV reader once more: casts from text know neither times nor PostgreSQL's booleans.
    lines = pa.array([pc.fill_null(texts, "").to_pylist()], pa.list_(pa.string()))
    joined = pc.binary_join(lines, "\n")[0].as_py() + "\n" if len(texts) else ""
    return _parse_csv(joined.encode(), [column.type])[0] if joined else pa.array([], column.type)


def _within_calendar(texts: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    first, last = _ENDS["date" if pa.types.is_date(kind) else "moment"]
    zone = "+00" if pa.types.is_timestamp(kind) and kind.tz else ""
    texts = pc.if_else(pc.equal(texts, "-infinity"), first + zone, texts)
    clamped: pa.Array[Any] = pc.if_else(pc.equal(texts, "infinity"), last + zone, texts)
    return clamped
