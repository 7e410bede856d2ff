"""What the design promises of mounts, as a table, and where it stands. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.mounts.outcome import Outcome, ratio
from benchmarks.mounts.peers import FLOOR, OURS, RCLONE
from benchmarks.mounts.works import Phase
from benchmarks.summary import Spread

DOWNLOAD = "our-download"


@dataclass(frozen=True, slots=True)
class Promise:
    """At least so many times as fast as a peer."""

    work: str
    phase: Phase
    peer: str
    bound: float


PROMISES = (
    Promise("sequential-1", Phase.COLD, RCLONE, 2.0),
    Promise("sequential-4", Phase.COLD, RCLONE, 2.0),
    Promise("sequential-1", Phase.COLD, DOWNLOAD, 0.9),
    Promise("small-8", Phase.COLD, RCLONE, 2.5),
    Promise("sequential-1", Phase.WARM, FLOOR, 0.95),
    Promise("sequential-4", Phase.WARM, FLOOR, 0.95),
    Promise("small-1", Phase.WARM, FLOOR, 0.8),
    Promise("small-8", Phase.WARM, FLOOR, 0.8),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise; `met` goes by the median."""

    promise: Promise
    got: Spread

    @property
    def met(self) -> bool:
        return self.got.median >= self.promise.bound


def judge(outcomes: Sequence[Outcome], subject: str = OURS) -> list[Verdict]:
    """Every promise that these runs can decide."""
    return [
        Verdict(promise, got)
        for promise in PROMISES
        if (got := ratio(outcomes, promise.work, promise.phase.value, subject, promise.peer))
    ]
