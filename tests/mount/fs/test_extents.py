"""Sets of byte ranges beside sets of bytes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mount.fs.extents import Extents

RANGES = st.tuples(st.integers(0, 40), st.integers(0, 40))


@given(st.lists(st.tuples(st.booleans(), RANGES)), RANGES)
def test_extents_are_a_set_of_bytes(
    steps: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]
) -> None:
    """Adding, removing and asking give what a set of numbers gives, in the fewest ranges."""
    extents, numbers = Extents(), set[int]()
    for adds, (start, end) in steps:
        if adds:
            extents.add(start, end)
            numbers |= set(range(start, end))
        else:
            extents.remove(start, end)
            numbers -= set(range(start, end))

    inside = set(range(*asked))
    assert {at for start, end in extents for at in range(start, end)} == numbers
    assert extents.total == len(numbers)
    assert extents.touches(*asked) == bool(inside & numbers)
    gaps = [at for start, end in extents.gaps(*asked) for at in range(start, end)]
    assert gaps == sorted(inside - numbers)
    ranges = list(extents)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(ranges))
