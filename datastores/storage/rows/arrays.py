"""PostgreSQL's text forms of bytes and of arrays."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute

# Its functions are made at import time; what is known of their types is wrong in places.
pc: Any = pyarrow.compute


def decode_hex(texts: pa.Array[Any]) -> pa.Array[Any]:
    r"""Bytes from `\x6162`; one pass over the column's buffer, since Arrow has no such function."""
    digits = pc.utf8_slice_codeunits(texts, 2)
    size = len(digits)
    validity, offsets, data = digits.buffers()
    if digits.offset or data is None:
        return pa.array([None if v is None else bytes.fromhex(v) for v in digits.to_pylist()])
    ends = pa.Array.from_buffers(pa.int32(), size + 1, [None, offsets])
    packed = binascii.unhexlify(memoryview(data)[: ends[size].as_py()])
    return pa.Array.from_buffers(
        pa.binary(),
        size,
        [validity, pc.divide(ends, pa.scalar(2, pa.int32())).buffers()[1], pa.py_buffer(packed)],
        null_count=digits.null_count,
    )


# Quotes, escapes, inner braces and explicit bounds need a reader that counts; numbers have none.
_INTRICATE = r"[\"\\]|.\{|^\["


def decode_arrays(
    texts: pa.Array[Any], convert: Callable[[pa.Array[Any]], pa.Array[Any]]
) -> pa.Array[Any]:
    """Lists from `{1,2,NULL}`; `ValueError` for arrays of more than one dimension."""
    if pc.any(pc.match_substring_regex(texts, _INTRICATE)).as_py():
        return _decode_one_by_one(texts, convert)
    parts = pc.split_pattern(pc.utf8_trim(texts, characters="{}"), ",")
    # An empty array splits into one empty text; an empty text inside an array has quotes.
    empty = pc.fill_null(pc.equal(texts, "{}"), fill_value=False)
    lengths = pc.if_else(empty, 0, pc.fill_null(pc.list_value_length(parts), 0))
    flat = parts.flatten()
    flat = flat.filter(pc.not_equal(flat, ""))
    values = pc.if_else(pc.equal(flat, "NULL"), pa.scalar(None, pa.string()), flat)
    return _lists(lengths, convert(values), texts)


def _decode_one_by_one(
    texts: pa.Array[Any], convert: Callable[[pa.Array[Any]], pa.Array[Any]]
) -> pa.Array[Any]:
    lists = [list(_elements(text)) if text is not None else [] for text in texts.to_pylist()]
    values = pa.array([value for values in lists for value in values], pa.string())
    return _lists(pa.array([len(values) for values in lists], pa.int32()), convert(values), texts)


def _lists(lengths: pa.Array[Any], values: pa.Array[Any], texts: pa.Array[Any]) -> pa.Array[Any]:
    ends = pc.cumulative_sum(lengths.cast(pa.int32()))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    mask = texts.is_null() if texts.null_count else None
    return pa.ListArray.from_arrays(offsets, values, mask=mask)


_ELEMENT = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^,{}"\\]+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def _elements(text: str) -> Iterator[str | None]:
    # Bounds other than 1 stand in front: [0:2]={1,2,3}
    body = text.partition("=")[2] if text.startswith("[") else text
    position, end = 1, len(body) - 1
    while position < end:
        match = _ELEMENT.match(body, position)
        if match is None:
            raise ValueError("an array of more than one dimension")
        if match["bare"] is not None:
            yield None if match["bare"] == "NULL" else match["bare"]
        else:
            yield _ESCAPE.sub(r"\1", match["quoted"])
        position = match.end() + 1
