"""The decision what goes, without a disk."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mount.cache.eviction import AGE_STEP_NS, Entry, in_order_of_eviction, plan_eviction

ENTRIES = st.lists(
    st.builds(
        Entry,
        name=st.uuids().map(str),
        charge=st.integers(4096, 1 << 30),
        used_ns=st.integers(0, 100 * AGE_STEP_NS),
        is_partial=st.booleans(),
    ),
    max_size=20,
    unique_by=lambda entry: entry.name,
)
BYTES = st.integers(0, 1 << 34)
# How long an example takes says something about the machine's other work, not about the plan.
at_leisure = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@at_leisure
@given(ENTRIES, BYTES, BYTES, BYTES, BYTES)
def test_frees_exactly_enough(
    entries: list[Entry], usage: int, quota: int, free: int, reserve: int
) -> None:
    """What goes makes the room that is asked for, or is everything; one file fewer would not do."""
    plan = plan_eviction(entries, usage, quota, free, reserve)

    need = max(usage - quota, reserve - free, 0)
    freed = sum(entry.charge for entry in plan)
    assert freed >= need or len(plan) == len(entries)
    assert not plan or freed - plan[-1].charge < need


@at_leisure
@given(ENTRIES, BYTES, BYTES, BYTES, BYTES)
def test_oldest_go_first(
    entries: list[Entry], usage: int, quota: int, free: int, reserve: int
) -> None:
    """Nothing that stays is older than what goes, by the step of recency."""
    plan = plan_eviction(entries, usage, quota, free, reserve)

    stay = [entry for entry in entries if entry not in plan]
    if plan and stay:
        assert max(e.used_ns // AGE_STEP_NS for e in plan) <= min(
            e.used_ns // AGE_STEP_NS for e in stay
        )


@at_leisure
@given(ENTRIES)
def test_partial_files_go_before_complete_ones_of_their_age(entries: list[Entry]) -> None:
    """Within one step of recency every partial file comes before every complete one."""
    order = in_order_of_eviction(entries)

    ages = [(entry.used_ns // AGE_STEP_NS, not entry.is_partial) for entry in order]
    assert ages == sorted(ages)
    assert sorted(order, key=lambda entry: entry.name) == sorted(
        entries, key=lambda entry: entry.name
    )


@at_leisure
@given(ENTRIES, BYTES, BYTES)
def test_nothing_goes_while_there_is_room(entries: list[Entry], room: int, more: int) -> None:
    """Usage at the quota and free space at the reserve are allowed."""
    assert plan_eviction(entries, room, room + more, room + more, room) == []
