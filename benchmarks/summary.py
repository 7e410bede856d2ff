"""From single runs to comparisons: medians, spreads, and ratios pair by pair. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.trial import Outcome


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the middle and the most of some figures."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(min(figures), statistics.median(figures), max(figures))


@dataclass(frozen=True, slots=True)
class Place:
    """What a comparison is about: the outcomes with these four values belong together."""

    workload: str
    direction: str
    rtt_ms: int
    failing_percent: float


def place_of(outcome: Outcome) -> Place:
    """The comparison this run was a part of."""
    return Place(outcome.workload, outcome.direction, outcome.rtt_ms, outcome.failing_percent)


@dataclass(frozen=True, slots=True)
class Standing:
    """One peer in one comparison; the spreads are None when no run counted."""

    peer: str
    place: Place
    runs: int
    counted: int
    wall_seconds: Spread | None
    cpu_seconds: Spread | None
    peak_rss_bytes: Spread | None
    requests: Spread | None
    wire_bytes: Spread | None
    rejections: tuple[str, ...]


def standings(outcomes: Iterable[Outcome]) -> list[Standing]:
    """Every peer in every comparison, in the order in which they first ran."""
    groups: dict[tuple[Place, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((place_of(outcome), outcome.peer), []).append(outcome)
    return [_standing(place, peer, group) for (place, peer), group in groups.items()]


def _standing(place: Place, peer: str, group: Sequence[Outcome]) -> Standing:
    good = [outcome for outcome in group if outcome.counts]

    def spread(figure: Callable[[Outcome], float]) -> Spread | None:
        return Spread.of([figure(outcome) for outcome in good]) if good else None

    rejections = dict.fromkeys(text for outcome in group for text in outcome.rejections)
    return Standing(
        peer=peer,
        place=place,
        runs=len(group),
        counted=len(good),
        wall_seconds=spread(lambda outcome: outcome.wall_seconds),
        cpu_seconds=spread(lambda outcome: outcome.cpu_seconds),
        peak_rss_bytes=spread(lambda outcome: outcome.peak_rss_bytes),
        requests=spread(lambda outcome: outcome.requests),
        wire_bytes=spread(lambda outcome: outcome.wire_bytes),
        rejections=tuple(rejections),
    )


def ratios(
    outcomes: Iterable[Outcome],
    place: Place,
    subject: str,
    peer: str,
    figure: Callable[[Outcome], float],
) -> Spread | None:
    """How many times the subject's figure the peer needed, round by round; None without a pair."""
    by_round: dict[int, dict[str, float]] = {}
    for outcome in outcomes:
        if outcome.counts and place_of(outcome) == place and outcome.peer in (subject, peer):
            by_round.setdefault(outcome.round, {})[outcome.peer] = figure(outcome)
    pairs = [pair[peer] / pair[subject] for pair in by_round.values() if len(pair) == 2]
    return Spread.of(pairs) if pairs else None
