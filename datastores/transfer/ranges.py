"""How a large object is cut into pieces that travel on their own."""

from __future__ import annotations

from collections.abc import Iterator

from datastores.value import Value

MIB = 1 << 20
SMALLEST = 8 * MIB
LARGEST_RANGE = 64 * MIB
# A journal of a 1 TiB file stays below half a megabyte.
MOST_RANGES = 4096


class Range(Value):
    """A piece of an object."""

    index: int
    start: int
    length: int


def range_bytes(size: int) -> int:
    """The length of one range of an object this long; the same answer in every later run."""
    length = SMALLEST
    while length < LARGEST_RANGE and length * MOST_RANGES < size:
        length *= 2
    return length


def plan_ranges(size: int, length: int) -> Iterator[Range]:
    """Pieces in order that cover the object exactly once."""
    for index, start in enumerate(range(0, size, length)):
        yield Range(index, start, min(length, size - start))


def block_bytes(size: int, largest_block: int, most_blocks: int) -> int:
    """The length of one block of an upload, or 0 when the object cannot be cut finely enough."""
    length = min(SMALLEST, largest_block)
    while length < largest_block and length * most_blocks < size:
        length = min(largest_block, length * 2)
    return length if length * most_blocks >= size else 0
