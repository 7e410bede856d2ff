"""From single runs to medians and ratios."""

from __future__ import annotations

import pytest

from benchmarks.summary import Place, Spread, ratios, standings
from tests.benchmarks.outcomes import ran

HERE = Place("small", "download", 0, 0.0)


def test_a_spread_is_least_middle_and_most() -> None:
    """The median of an even number of figures is between the two in the middle."""
    assert Spread.of([4.0, 1.0, 2.0, 3.0]) == Spread(1.0, 2.5, 4.0)


def test_only_runs_that_count_are_summarised() -> None:
    """A rejected run is told with its reason, once, and is no part of any figure."""
    runs = [
        ran("rclone", 1, 2.0),
        ran("rclone", 2, 1.0, rejections=("damaged",)),
        ran("rclone", 3, 4.0, rejections=("damaged",)),
    ]

    (standing,) = standings(runs)

    assert (standing.runs, standing.counted, standing.rejections) == (3, 1, ("damaged",))
    assert standing.wall_seconds == Spread(2.0, 2.0, 2.0)


def test_a_peer_without_a_run_that_counts_has_no_figures() -> None:
    """Nothing is made up for it."""
    (standing,) = standings([ran("rclone", 1, 2.0, rejections=("damaged",))])

    figures = (standing.wall_seconds, standing.cpu_seconds, standing.peak_rss_bytes)
    assert figures == (None, None, None)


def test_comparisons_are_kept_apart() -> None:
    """The same peer in another direction or circumstance is another standing."""
    runs = [
        ran("rclone", 1, 2.0),
        ran("rclone", 1, 3.0, direction="upload"),
        ran("rclone", 1, 4.0, rtt_ms=20),
        ran("rclone", 1, 5.0, failing_percent=5.0),
    ]

    assert [one.wall_seconds and one.wall_seconds.median for one in standings(runs)] == [
        *(2.0, 3.0, 4.0, 5.0)
    ]


def test_ratios_are_taken_round_by_round() -> None:
    """A slow round of the machine slows both, and their ratio stays."""
    runs = [
        *(ran("datastores", 1, 1.0), ran("rclone", 1, 2.0)),
        *(ran("datastores", 2, 10.0), ran("rclone", 2, 30.0)),
    ]

    got = ratios(runs, HERE, "datastores", "rclone", lambda run: run.wall_seconds)

    assert got == Spread(2.0, 2.5, 3.0)


def test_a_round_with_a_rejected_run_is_no_pair() -> None:
    """A ratio needs both, in the same round and the same place."""
    runs = [
        *(ran("datastores", 1, 1.0), ran("rclone", 1, 2.0, rejections=("late",))),
        *(ran("datastores", 2, 1.0), ran("rclone", 3, 2.0)),
        *(ran("datastores", 4, 1.0), ran("rclone", 4, 2.0, rtt_ms=20)),
    ]

    assert ratios(runs, HERE, "datastores", "rclone", lambda run: run.wall_seconds) is None


@pytest.mark.parametrize("figure", ["wall_seconds", "cpu_seconds"])
def test_any_figure_can_be_compared(figure: str) -> None:
    """Time as well as CPU."""
    runs = [ran("datastores", 1, 1.0), ran("rclone", 1, 3.0)]

    got = ratios(runs, HERE, "datastores", "rclone", lambda run: getattr(run, figure))

    assert got == Spread(3.0, 3.0, 3.0)
