"""What has to go when room is needed: a pure decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from datastores.value import Value

# Recency is noted once a minute at most, so two times within one minute are the same age.
AGE_STEP_NS = 60 * 10**9


class Entry(Value):
    """A file as the census saw it."""

    name: str
    charge: int
    used_ns: int
    is_partial: bool


def plan_eviction(
    entries: Iterable[Entry], usage: int, quota: int, free: int, reserve: int
) -> list[Entry]:
    """The least recently used files that bring usage to the quota and free space to the reserve.

    Of one age, partial files go first: they cannot be read by the kernel directly, their owner has
    gone, and what is lost of them is only what was fetched so far. All of them when all are not
    enough; none when there is room.
    """
    excess = max(usage - quota, reserve - free)
    chosen: list[Entry] = []
    if excess <= 0:
        return chosen
    for entry in in_order_of_eviction(entries):
        if excess <= 0:
            break
        chosen.append(entry)
        excess -= entry.charge
    return chosen


def in_order_of_eviction(entries: Iterable[Entry]) -> Sequence[Entry]:
    """First the one that is missed least."""
    return sorted(
        entries,
        key=lambda entry: (
            entry.used_ns // AGE_STEP_NS,
            not entry.is_partial,
            entry.used_ns,
            entry.name,
        ),
    )
