"""Which blocks of a file are sent and which are there already: decisions only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from datastores.value import Value

# Spans double here, so that 50,000 blocks of 8 MiB reach 25 TiB and small files have small blocks.
BLOCKS_OF_ONE_SIZE = 8_000


class Piece(Value):
    """A range of the file; with an id the store has it."""

    start: int
    end: int
    id: str | None = None


def plan_blocks(size: int, known: Iterable[Piece], block_bytes: int) -> Sequence[Piece]:
    """The file as blocks in order: known ones where they fit, the rest to be sent.

    A short known block beside bytes to be sent is sent with them, so that a log written in small
    steps does not become a chain of small blocks.
    """
    plan: list[Piece] = []
    at = 0
    for piece in sorted(known, key=lambda piece: piece.start):
        if piece.start < at or piece.end > size or piece.start == piece.end:
            continue
        joins_a_gap = piece.start > at or piece.end < size
        if piece.end - piece.start < block_bytes // 2 and joins_a_gap:
            continue
        plan += _to_send(at, piece.start, block_bytes)
        plan.append(piece)
        at = piece.end
    return plan + _to_send(at, size, block_bytes)


def span(index: int, block_bytes: int) -> tuple[int, int]:
    """Where the block of this number begins and ends in a file that is written in order."""
    start = 0
    length = block_bytes
    while index >= BLOCKS_OF_ONE_SIZE:
        start += BLOCKS_OF_ONE_SIZE * length
        length *= 2
        index -= BLOCKS_OF_ONE_SIZE
    return start + index * length, start + (index + 1) * length


def _to_send(start: int, end: int, block_bytes: int) -> list[Piece]:
    return [Piece(at, min(at + block_bytes, end)) for at in range(start, end, block_bytes)]
