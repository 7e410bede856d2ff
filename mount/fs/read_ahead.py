"""What to fetch before it is asked for: decisions only."""

from __future__ import annotations

from dataclasses import replace

from datastores.value import Value

MIB = 1024 * 1024

# The kernel sends a sequential reader's requests side by side, so they arrive out of order.
SLACK_BYTES = 2 * MIB
# A file that is read from its start is mostly read to its end: one part is the stake.
OPENING_WINDOW = 2 * MIB
STREAMS = 4
MOST_STRIDES = 8


class Reach(Value):
    """How far read-ahead may go."""

    size: int
    window_bytes: int


class Stream(Value):
    """One place in the file that somebody reads on from."""

    start: int
    end: int
    # How far was already asked for.
    asked: int
    window: int = 0
    stride: int = 0
    strides: int = 0


class Pace(Value):
    """What is known of a handle's reader; several threads may read on from several places."""

    streams: tuple[Stream, ...] = ()


def observe(
    pace: Pace, start: int, end: int, reach: Reach
) -> tuple[Pace, tuple[tuple[int, int], ...]]:
    """Take in one read; what to fetch beside it, as (start, end) ranges.

    A reader in order gets a window that doubles up to the reach. One with even steps gets the next
    steps and nothing between them. One who jumps about gets nothing.
    """
    for stream in pace.streams:
        if _goes_on(stream, start):
            going, ranges = _onwards(stream, start, end, reach)
            return _with(pace, stream, going), ranges
    for stream in pace.streams:
        if stream.stride and start - stream.start == stream.stride:
            going, ranges = _next_steps(stream, start, end, reach)
            return _with(pace, stream, going), ranges
    return _first_read(pace, start, end, reach)


def _goes_on(stream: Stream, start: int) -> bool:
    # Only a proven reader in order may skip or be late; two random reads may well be neighbours.
    if stream.window:
        return stream.end - SLACK_BYTES <= start <= stream.end + SLACK_BYTES
    return stream.start <= start <= stream.end


def _onwards(
    stream: Stream, start: int, end: int, reach: Reach
) -> tuple[Stream, tuple[tuple[int, int], ...]]:
    if end <= stream.end:  # a late or repeated request tells nothing new
        return stream, ()
    window = min(reach.window_bytes, max(OPENING_WINDOW, stream.window * 2))
    target = min(reach.size, end + window)
    asked = max(stream.asked, end)
    going = replace(stream, start=start, end=end, window=window, stride=0, strides=0)
    # Half a window is asked for at a time: requests stay large.
    if asked >= reach.size or (target - asked < window // 2 and target < reach.size):
        return replace(going, asked=asked), ()
    return replace(going, asked=target), ((asked, target),)


def _next_steps(
    stream: Stream, start: int, end: int, reach: Reach
) -> tuple[Stream, tuple[tuple[int, int], ...]]:
    steps = min(MOST_STRIDES, 2 ** (stream.strides + 1))
    length = end - start
    while steps and steps * length > reach.window_bytes:
        steps -= 1
    ranges = tuple(
        (at, min(at + length, reach.size))
        for at in (start + stream.stride * step for step in range(1, steps + 1))
        if 0 <= at < reach.size
    )
    return replace(stream, start=start, end=end, asked=end, strides=stream.strides + 1), ranges


def _first_read(
    pace: Pace, start: int, end: int, reach: Reach
) -> tuple[Pace, tuple[tuple[int, int], ...]]:
    last = pace.streams[0] if pace.streams else None
    stride = start - last.start if last and not last.window else 0
    if start > 0 or last:
        new = Stream(start, end, end, stride=stride)
        return Pace((new, *pace.streams[: STREAMS - 1])), ()
    asked = min(reach.size, end + min(OPENING_WINDOW, reach.window_bytes))
    opening = Stream(start, end, asked, window=OPENING_WINDOW)
    return Pace((opening,)), ((end, asked),) if asked > end else ()


def _with(pace: Pace, old: Stream, new: Stream) -> Pace:
    return Pace((new, *(stream for stream in pace.streams if stream is not old)))
