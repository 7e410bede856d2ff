"""Which blocks are sent: tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mount.fs.block_plan import BLOCKS_OF_ONE_SIZE, Piece, plan_blocks, span

OLD = [Piece(0, 10, "a"), Piece(10, 20, "b"), Piece(20, 24, "c")]


@pytest.mark.parametrize(
    ("size", "known", "plan"),
    [
        pytest.param(0, [], [], id="an empty file has no blocks"),
        pytest.param(
            25, [], [Piece(0, 10), Piece(10, 20), Piece(20, 25)], id="a new file is cut evenly"
        ),
        pytest.param(24, OLD, OLD, id="an unchanged file sends nothing"),
        pytest.param(
            30, OLD, [*OLD[:2], Piece(20, 30)], id="an append sends the short last block again"
        ),
        pytest.param(
            24, [OLD[0], OLD[2]], [OLD[0], Piece(10, 20), Piece(20, 24)], id="a changed block is sent"
        ),
        pytest.param(15, OLD, [OLD[0], Piece(10, 15)], id="a cut file keeps the blocks before"),
        pytest.param(
            20, [Piece(0, 10, "a"), Piece(5, 15, "x")], [Piece(0, 10, "a"), Piece(10, 20)],
            id="overlapping blocks are not both used",
        ),
    ],
)  # fmt: skip
def test_plan(size: int, known: list[Piece], plan: list[Piece]) -> None:
    """Known blocks are used where they fit, and the rest is sent in blocks of ten."""
    assert list(plan_blocks(size, known, 10)) == plan


@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30))),
    st.integers(1, 20),
)
def test_plan_covers_every_byte_once(
    size: int, known: list[tuple[int, int]], block_bytes: int
) -> None:
    """Whatever is known, the plan is the file from its first byte to its last, in order."""
    pieces = [Piece(start, start + length, f"{start}") for start, length in known]

    plan = plan_blocks(size, pieces, block_bytes)

    assert [piece.start for piece in plan] == [0, *(piece.end for piece in plan[:-1])][: len(plan)]
    assert (plan[-1].end if plan else 0) == size


def test_spans_are_adjacent_and_grow() -> None:
    """Blocks of a streamed file follow each other, also where their size doubles."""
    edge = BLOCKS_OF_ONE_SIZE

    spans = [span(index, 8) for index in range(edge - 2, edge + 3)]

    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]
    assert [end - start for start, end in spans] == [8, 8, 16, 16, 16]
