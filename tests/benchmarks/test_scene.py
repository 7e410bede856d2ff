"""The plan of the transfers: what is compared with what, in which order."""

from __future__ import annotations

from itertools import pairwise

from benchmarks.peers.peer import Direction
from benchmarks.peers.registry import PEERS
from benchmarks.scene import (
    FAILING_PERCENT,
    Scene,
    drop_slow,
    estimate_run_seconds,
    estimate_seconds,
    interleave,
    plan_scenes,
)
from benchmarks.workloads import workloads

QUICK = workloads(quick=True)
BOTH = (Direction.DOWNLOAD, Direction.UPLOAD)


def test_everybody_has_a_turn_in_each_round() -> None:
    """A B C A B C, not A A B B C C: a drift of the machine meets everybody."""
    assert list(interleave(["a", "b", "c"], 2)) == [
        *((1, "a"), (1, "b"), (1, "c")),
        *((2, "a"), (2, "b"), (2, "c")),
    ]


def test_every_combination_is_a_scene() -> None:
    """Two workloads, two directions, two round trips and the failing one are twelve scenes."""
    chosen = [QUICK["small"], QUICK["large"]]

    scenes = plan_scenes(chosen, BOTH, (0, 20), with_faults=True)

    assert len(set(scenes)) == len(scenes) == 2 * 2 * 3
    assert [scene.circumstances for scene in scenes[:3]] == [
        "local",
        "20 ms round trip",
        "5 % of requests fail",
    ]


def test_scenes_of_a_workload_stand_together() -> None:
    """Its files are made once: nothing else comes in between."""
    scenes = plan_scenes(QUICK.values(), BOTH, (0, 1), with_faults=True)

    changes = sum(one.workload != other.workload for one, other in pairwise(scenes))

    assert changes == len(QUICK) - 1


def test_a_quick_plan_has_one_failing_scene() -> None:
    """The first scene with failures stays and every one without."""
    scenes = plan_scenes(QUICK.values(), BOTH, (0,), with_faults=True)

    kept = drop_slow(scenes)

    assert sum(scene.failing_percent == FAILING_PERCENT for scene in kept) == 1
    assert [one for one in kept if not one.failing_percent] == [
        one for one in scenes if not one.failing_percent
    ]


def test_every_peer_can_be_estimated() -> None:
    """Nobody is missing from the table of speeds, and a longer round trip is never faster."""
    near = Scene(QUICK["small"], Direction.DOWNLOAD)
    far = Scene(QUICK["small"], Direction.DOWNLOAD, rtt_ms=100)

    for peer in PEERS:
        assert 0 < estimate_run_seconds(near, peer) <= estimate_run_seconds(far, peer)


def test_the_estimate_is_the_sum_of_its_runs() -> None:
    """Twice the rounds take twice the time."""
    scenes = plan_scenes(QUICK.values(), BOTH, (0, 20), with_faults=False)

    once = estimate_seconds(scenes, list(PEERS), 1)

    assert estimate_seconds(scenes, list(PEERS), 2) == 2 * once
