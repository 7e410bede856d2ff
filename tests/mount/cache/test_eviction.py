"""What goes when room is needed: the decision, and what it costs to know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mount.cache.contract import CacheKey
from mount.cache.eviction import AGE_STEP_NS, Entry, in_order_of_eviction, plan_eviction
from mount.cache.node_cache import NodeCache
from mount.cache.room import Limits
from tests.mount.cache.content import content, key_for

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


# Listings of folders are counted by the interpreter itself, in a process of its own.
COUNTING = """
import sys
from pathlib import Path
from mount.cache.contract import CacheKey
from mount.cache.node_cache import NodeCache
listings = 0
def count(event, arguments):
    global listings
    listings += event == "os.scandir"
sys.addaudithook(count)
cache = NodeCache.open(Path(sys.argv[1]), quota_bytes=400 * 8192, reserve_bytes=0)
for number in range(400):
    cache.put(CacheKey("s", str(number), "v", 1000), b"x" * 1000).close()
before = listings
for number in range(400, 800):
    cache.put(CacheKey("s", str(number), "v", 1000), b"x" * 1000).close()
censuses = (listings - before) / 513
there = [number for number in range(800) if cache.find(CacheKey("s", str(number), "v", 1000))]
cache.close()
print(censuses, min(there), max(there), len(there) > 360)
"""


def test_a_census_serves_many_evictions(tmp_path: Path) -> None:
    """A whole turnover of a full cache lists its folders a handful of times, and the oldest go."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COUNTING, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    )

    censuses, oldest, newest, is_full = done.stdout.split()

    assert float(censuses) < 8
    assert (newest, is_full) == ("799", "True")
    assert int(oldest) >= 350


def test_a_file_used_since_the_census_stays(tmp_path: Path) -> None:
    """What was read after the census that found it old is not evicted by it."""
    now = [10**18]
    cache = NodeCache.open(
        tmp_path,
        quota_bytes=40 * 8192,
        reserve_bytes=0,
        clock=lambda: now[0],
        limits=Limits(0, 0, touch_seconds=0.0),
    )
    keys = [key_for(number, 1000) for number in range(60)]
    for key in keys[:41]:  # the last one takes the census
        now[0] += 10**9
        cache.put(key, content(key)).close()
    survivor = next(key for key in keys if is_here(cache, key))
    for key in keys[41:]:
        now[0] += 10**9
        assert is_here(cache, survivor)
        cache.put(key, content(key)).close()

    assert is_here(cache, survivor)
    assert not is_here(cache, keys[4])
    cache.close()


def is_here(cache: NodeCache, key: CacheKey) -> bool:
    held = cache.find(key)
    if held:
        held.close()
    return held is not None
