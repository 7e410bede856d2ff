"""What the project promised itself of transfers, and how it is decided."""

from __future__ import annotations

import pytest

from benchmarks.budget import PROMISES, Figure, Promise, judge
from benchmarks.peers.registry import PEERS
from benchmarks.workloads import workloads
from tests.benchmarks.outcomes import ran

AT_ONCE = Promise("download", ("small", "tiny"), Figure.TIME, "rclone", 1.3)


def test_promises_are_about_what_is_measured() -> None:
    """Every promise names workloads and peers that exist."""
    named = {name for promise in PROMISES for name in promise.workloads}

    assert named <= workloads(quick=False).keys()
    assert {promise.peer for promise in PROMISES} - {None} <= PEERS.keys()


@pytest.mark.parametrize(("seconds", "met"), [((1.2, 1.31, 2.0), True), ((1.2, 1.29, 2.0), False)])
def test_a_promise_goes_by_the_median(seconds: tuple[float, ...], *, met: bool) -> None:
    """One lucky round keeps no promise, and one unlucky round breaks none."""
    runs = [
        run
        for number, needed in enumerate(seconds, 1)
        for run in (ran("datastores", number, 1.0), ran("rclone", number, needed))
    ]

    decided = {verdict.promise: verdict.met for verdict in judge(runs, "datastores")}

    assert decided[AT_ONCE] is met


@pytest.mark.parametrize(("peak_mib", "met"), [(256, True), (257, False)])
def test_memory_goes_by_the_worst_run(peak_mib: int, *, met: bool) -> None:
    """A bound on memory holds for every run, not for most."""
    runs = [
        ran("datastores", 1, 1.0, peak_rss_bytes=10 << 20),
        ran("datastores", 2, 1.0, peak_rss_bytes=peak_mib << 20),
        ran("datastores", 3, 1.0, peak_rss_bytes=10 << 20),
    ]

    (verdict,) = [one for one in judge(runs, "datastores") if one.promise.figure is Figure.MEMORY]

    assert verdict.met is met


def test_runs_that_fail_on_purpose_decide_nothing() -> None:
    """No promise is made for an endpoint that refuses requests."""
    runs = [ran(peer, 1, 1.0, failing_percent=5.0) for peer in ("datastores", "rclone")]

    assert judge(runs, "datastores") == []


def test_the_promise_for_long_ways_is_decided_there_alone() -> None:
    """Runs at 20 ms decide the promises for 20 ms and no other."""
    runs = [ran(peer, 1, 1.0, rtt_ms=20) for peer in ("datastores", "rclone")]

    assert {verdict.promise.rtt_ms for verdict in judge(runs, "datastores")} == {20}
