"""Which runs in a mount count, how they compare, and which promises they keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.mounts.outcome import objections, ratio, standings, uncovered
from benchmarks.mounts.peers import FLOOR, OURS, PEERS, RCLONE
from benchmarks.mounts.program import Done
from benchmarks.mounts.promises import DOWNLOAD, PROMISES, judge
from benchmarks.mounts.report import describe_promises, describe_work, save
from benchmarks.mounts.works import Kind, Phase, Work, works
from benchmarks.summary import Spread
from benchmarks.workloads import KIB
from tests.benchmarks.outcomes import mounted

READ = Work("small-8", "", Kind.READ, 10, 100)
STAT = Work("stat", "", Kind.STAT, 10, 7)
RANDOM = Work("random-4k", "", Kind.RANDOM, 1, 1 << 20, block_bytes=4 * KIB, blocks=50)


@pytest.mark.parametrize(
    ("work", "done", "wrong"),
    [
        (READ, Done(1.0, 10, 1000), []),
        (READ, Done(1.0, 9, 1000), ["9 of 10 files were there"]),
        (READ, Done(1.0, 10, 999), ["999 of 1,000 bytes were seen"]),
        (STAT, Done(1.0, 10, 70), []),
        (STAT, Done(1.0, 10, 0), ["0 of 70 bytes were seen"]),
        (RANDOM, Done(1.0, 1, 50 * 4 * KIB), []),
    ],
)
def test_a_run_counts_if_it_did_all_of_its_work(work: Work, done: Done, wrong: list[str]) -> None:
    """Every file was met and every byte seen; of a stat, every size."""
    assert objections(work, done) == wrong


def test_bytes_that_never_travelled_are_an_objection() -> None:
    """A mount that invents what it shows is found by the endpoint's log."""
    assert uncovered(READ, 1000) == []
    assert uncovered(READ, 999) == ["999 bytes on the wire do not cover the 1,000 moved"]
    assert (uncovered(RANDOM, 4 * KIB), uncovered(STAT, 0)) == ([], [])
    assert len(uncovered(RANDOM, 0)) == 1


def test_rejected_runs_are_told_and_not_counted() -> None:
    """Their reason stays in the table, their seconds do not."""
    runs = [mounted(OURS, 1, 1.0), mounted(OURS, 2, 9.0, rejections=("other bytes",))]

    (standing,) = standings(runs)

    assert (standing.counted, standing.rejections) == (1, ("other bytes",))
    assert (standing.seconds, standing.rate) == (Spread(1.0, 1.0, 1.0), Spread(1000, 1000, 1000))


def test_ratios_pair_the_same_round_phase_and_work() -> None:
    """A slow round slows both; a cold run is never held against a warm one."""
    runs = [
        *(mounted(OURS, 1, 1.0), mounted(FLOOR, 1, 0.5)),
        *(mounted(OURS, 2, 10.0), mounted(FLOOR, 2, 9.0)),
        *(mounted(OURS, 3, 1.0), mounted(FLOOR, 3, 99.0, phase="cold")),
        *(mounted(OURS, 4, 1.0), mounted(FLOOR, 4, 99.0, work="small-1")),
        *(mounted(OURS, 5, 1.0), mounted(FLOOR, 5, 99.0, rejections=("no",))),
    ]

    assert ratio(runs, "small-8", "warm", OURS, FLOOR) == Spread(0.5, 0.7, 0.9)
    assert ratio(runs, "small-8", "warm", OURS, RCLONE) is None


@pytest.mark.parametrize(("floor", "met"), [(0.8, True), (0.79, False)])
def test_a_promise_is_kept_at_its_bound(floor: float, *, met: bool) -> None:
    """Warm small files at 0.8 of the local disk, by the median of the rounds."""
    runs = [
        run
        for number, seconds in enumerate((0.1, floor, 2.0), 1)
        for run in (mounted(OURS, number, 1.0), mounted(FLOOR, number, seconds))
    ]

    (verdict,) = judge(runs)

    assert (verdict.promise.peer, verdict.met) == (FLOOR, met)
    assert ("NOT MET" in describe_promises([verdict])) is not met


def test_promises_are_about_what_is_measured() -> None:
    """Every promise names a work, one of its phases and a peer that exist."""
    every = works(quick=False)

    assert {promise.work for promise in PROMISES} <= every.keys()
    assert all(promise.phase in every[promise.work].phases for promise in PROMISES)
    assert {promise.peer for promise in PROMISES} <= {*PEERS, DOWNLOAD}


def test_results_are_complete(tmp_path: Path) -> None:
    """The file has every run, every comparison and every verdict; the table every peer."""
    runs = [mounted(OURS, 1, 1.0), mounted(FLOOR, 1, 0.5), mounted(RCLONE, 1, 0.0, units=0)]
    runs[2] = mounted(RCLONE, 1, 0.0, rejections=("did not mount",))

    save({"seed": 1}, runs, tmp_path / "folder" / "out.json")
    told = describe_work(works(quick=True)["small-8"], runs)

    document = json.loads((tmp_path / "folder" / "out.json").read_text())
    assert [len(document[name]) for name in ("runs", "comparisons", "budgets")] == [3, 3, 1]
    assert document["budgets"][0]["met"] is False
    assert document["budgets"][0]["phase"] == Phase.WARM.value
    assert "! did not mount" in told
    assert "0.50 [0.50-0.50]" in told
