"""What this project promised itself, as a table, and where it stands. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.summary import Place, Spread, place_of, ratios, standings
from benchmarks.trial import Outcome
from benchmarks.workloads import MIB


class Figure(enum.Enum):
    """What is compared."""

    TIME = "time"
    CPU = "CPU"
    MEMORY = "peak memory"


@dataclass(frozen=True, slots=True)
class Promise:
    """Against a peer: at least so many times better. Against nobody: at most so many MiB."""

    direction: str
    workloads: tuple[str, ...]
    figure: Figure
    peer: str | None
    bound: float
    rtt_ms: int = 0


_SMALL = ("small", "tiny")
_LARGE = ("large", "huge")
_EVERY = (*_SMALL, *_LARGE, "mix")
_RIVALS = ("rclone", "azcopy", "adlfs", "azure-sdk")

PROMISES: tuple[Promise, ...] = (
    Promise("download", _SMALL, Figure.TIME, "rclone", 1.3),
    Promise("download", _SMALL, Figure.TIME, "azcopy", 1.8),
    Promise("download", _SMALL, Figure.TIME, "adlfs", 5.0),
    *(Promise("download", _SMALL, Figure.CPU, peer, 1.0) for peer in _RIVALS),
    Promise("download", _LARGE, Figure.TIME, "rclone", 1.0),
    Promise("download", _LARGE, Figure.TIME, "azcopy", 1.5),
    Promise("download", _LARGE, Figure.TIME, "adlfs", 1.5),
    Promise("download", _EVERY, Figure.MEMORY, None, 256),
    Promise("upload", _EVERY, Figure.TIME, "rclone", 1.2),
    Promise("upload", _EVERY, Figure.TIME, "azcopy", 1.2),
    Promise("upload", _EVERY, Figure.TIME, "adlfs", 3.0),
    Promise("upload", _EVERY, Figure.MEMORY, None, 256),
    # Checking costs a tenth at most.
    Promise("download", _EVERY, Figure.TIME, "datastores-unchecked", 0.9),
    Promise("download", _EVERY, Figure.CPU, "datastores-unchecked", 0.9),
    *(
        Promise(direction, _EVERY, Figure.TIME, peer, 1.0, rtt_ms=20)
        for direction in ("download", "upload")
        for peer in _RIVALS
    ),
)

_FIGURES: Mapping[Figure, Callable[[Outcome], float]] = {
    Figure.TIME: lambda outcome: outcome.wall_seconds,
    Figure.CPU: lambda outcome: outcome.cpu_seconds,
    Figure.MEMORY: lambda outcome: outcome.peak_rss_bytes / MIB,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise on one workload; `met` goes by the median."""

    promise: Promise
    place: Place
    got: Spread

    @property
    def met(self) -> bool:
        if self.promise.peer is None:
            return self.got.most <= self.promise.bound
        return self.got.median >= self.promise.bound


def judge(outcomes: Iterable[Outcome], subject: str) -> list[Verdict]:
    """Every promise that these runs can decide."""
    every = list(outcomes)
    places = list(dict.fromkeys(place_of(outcome) for outcome in every))
    return [
        Verdict(promise, place, got)
        for promise in PROMISES
        for place in places
        if _concerns(promise, place) and (got := _got(every, place, subject, promise))
    ]


def _concerns(promise: Promise, place: Place) -> bool:
    return (
        place.direction == promise.direction
        and place.workload in promise.workloads
        and place.rtt_ms == promise.rtt_ms
        and not place.failing_percent
    )


def _got(
    outcomes: Sequence[Outcome], place: Place, subject: str, promise: Promise
) -> Spread | None:
    if promise.peer is not None:
        return ratios(outcomes, place, subject, promise.peer, _FIGURES[promise.figure])
    for standing in standings(outcomes):
        if standing.peer == subject and standing.place == place and standing.peak_rss_bytes:
            rss = standing.peak_rss_bytes
            return Spread(rss.least / MIB, rss.median / MIB, rss.most / MIB)
    return None
