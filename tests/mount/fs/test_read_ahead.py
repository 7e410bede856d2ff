"""The read-ahead policy, as tables."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from mount.fs.read_ahead import OPENING_WINDOW, Pace, Reach, observe

KIB, MIB = 1024, 1024 * 1024
REACH = Reach(size=1024 * MIB, window_bytes=64 * MIB)


def ranges_of(
    reads: Iterable[tuple[int, int]], reach: Reach = REACH
) -> list[tuple[tuple[int, int], ...]]:
    """What each read of (start, length) asks for beside itself."""
    pace = Pace()
    answers: list[tuple[tuple[int, int], ...]] = []
    for start, length in reads:
        pace, ranges = observe(pace, start, min(start + length, reach.size), reach)
        answers.append(ranges)
    return answers


def total(answers: Iterable[tuple[tuple[int, int], ...]]) -> int:
    return sum(end - start for ranges in answers for start, end in ranges)


def test_first_read_of_the_beginning_stakes_one_small_window() -> None:
    """A file read from its start gets the opening window behind the read, and no more."""
    assert ranges_of([(0, 128 * KIB)]) == [((128 * KIB, 128 * KIB + OPENING_WINDOW),)]


def test_sequential_reader_gets_a_window_that_doubles() -> None:
    """The distance asked for ahead of a reader in order doubles up to the window."""
    pace = Pace()
    widths: list[int] = []
    for at in range(0, 200 * MIB, MIB):
        pace, _ = observe(pace, at, at + MIB, REACH)
        widths.append(pace.streams[0].window)

    assert widths[:6] == [2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB]
    assert set(widths[6:]) == {64 * MIB}


def test_sequential_reader_is_asked_for_every_byte_once() -> None:
    """The ranges of a reader in order are adjacent, and end at the end of the file."""
    reach = Reach(size=100 * MIB, window_bytes=64 * MIB)

    answers = ranges_of([(at, MIB) for at in range(0, 100 * MIB, MIB)], reach)

    asked = [piece for ranges in answers for piece in ranges]
    assert [start for start, _ in asked[1:]] == [end for _, end in asked[:-1]]
    assert asked[-1][1] == reach.size


def test_requests_of_a_fast_sequential_reader_are_large() -> None:
    """Behind the ramp, no request of a sequential reader is smaller than half a window."""
    answers = ranges_of([(at, MIB) for at in range(0, 512 * MIB, MIB)])

    sizes = [end - start for ranges in answers for start, end in ranges]
    assert min(sizes[6:]) >= 32 * MIB


def test_random_reader_gets_nothing() -> None:
    """Reads that jump about fetch nothing beside themselves."""
    rng = random.Random(7)
    reads = [(rng.randrange(1, REACH.size // KIB) * KIB, 4 * KIB) for _ in range(200)]

    assert total(ranges_of(reads)) == 0


def test_random_reader_that_begins_at_zero_costs_one_window() -> None:
    """A header read and then jumps cost the opening window once."""
    rng = random.Random(8)
    reads = [(0, 4 * KIB)]
    reads += [(rng.randrange(8 * MIB, REACH.size), 4 * KIB) for _ in range(50)]

    assert total(ranges_of(reads)) == OPENING_WINDOW


def test_strided_reader_gets_its_next_steps_only() -> None:
    """Even steps are continued, and the bytes between them are not fetched."""
    stride, length = 10 * MIB, 64 * KIB

    answers = ranges_of([(MIB + step * stride, length) for step in range(4)])

    assert answers[0] == answers[1] == ()
    third = MIB + 2 * stride
    assert answers[2] == tuple((third + n * stride, third + n * stride + length) for n in (1, 2))
    assert [start - (MIB + 3 * stride) for start, _ in answers[3]] == [
        stride * n for n in range(1, 5)
    ]


def test_reader_that_goes_backwards_in_steps_is_followed() -> None:
    """Steps may be negative; ranges before the file's start are not asked for."""
    answers = ranges_of([(30 * MIB - step * 10 * MIB, 4 * KIB) for step in range(3)])

    assert answers[2] == ((0, 4 * KIB),)


def test_requests_out_of_order_are_still_one_sequential_reader() -> None:
    """The kernel's neighbouring requests may arrive in any order without ending the window."""
    order = [0, 2, 1, 3, 5, 4, 6, 7, 9, 8]

    pace = Pace()
    for number in order:
        pace, _ = observe(pace, number * 128 * KIB, (number + 1) * 128 * KIB, REACH)

    assert len(pace.streams) == 1
    assert pace.streams[0].window >= 32 * MIB


@pytest.mark.parametrize("readers", [2, 3, 4])
def test_threads_that_share_a_handle_are_told_apart(readers: int) -> None:
    """Several readers in order on one handle each get a window of their own."""
    starts = [number * 200 * MIB for number in range(readers)]
    pace = Pace()
    for step in range(12):
        for start in starts:
            at = start + step * MIB
            pace, _ = observe(pace, at, at + MIB, REACH)

    assert [stream.window for stream in pace.streams] == [64 * MIB] * readers


def test_window_never_reaches_past_the_end() -> None:
    """Nothing behind the end of the file is asked for."""
    reach = Reach(size=3 * MIB, window_bytes=64 * MIB)

    answers = ranges_of([(at, MIB) for at in range(0, 3 * MIB, MIB)], reach)

    assert max(end for ranges in answers for _, end in ranges) == 3 * MIB
