"""What one phase of one turn cost, whether it counts, and how peers compare. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.mounts.program import Done
from benchmarks.mounts.works import Kind, Work
from benchmarks.summary import Spread

# No clock of a shared machine is worth more than this.
SHORTEST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Outcome:
    """One phase of one turn; it counts unless something is said against it."""

    work: str
    phase: str
    peer: str
    round: int
    seconds: float
    units: int
    cpu_seconds: float
    peak_rss_bytes: int
    rejections: tuple[str, ...]

    @property
    def counts(self) -> bool:
        return not self.rejections

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / max(self.seconds, SHORTEST_SECONDS)

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain values."""
        return {**asdict(self), "rejections": list(self.rejections)}


def objections(work: Work, done: Done) -> list[str]:
    """Why a phase that ended well does not count: it did not do all of its work."""
    found = []
    if done.files != work.files:
        found.append(f"{done.files:,} of {work.files:,} files were there")
    # A stat moves nothing, but must have seen every size.
    wanted = work.total_bytes if work.kind is Kind.STAT else work.moved_bytes
    if done.bytes != wanted:
        found.append(f"{done.bytes:,} of {wanted:,} bytes were seen")
    return found


def uncovered(work: Work, wire_bytes: int) -> list[str]:
    """Bytes that the program got or gave although they never travelled."""
    # Blocks of a random reader may overlap: only a part of the bytes has to have travelled.
    wanted = min(work.moved_bytes, work.block_bytes if work.kind is Kind.RANDOM else 1 << 63)
    if wire_bytes >= wanted:
        return []
    return [f"{wire_bytes:,} bytes on the wire do not cover the {wanted:,} moved"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One peer in one phase of one work; the spreads are None when no run counted."""

    work: str
    phase: str
    peer: str
    runs: int
    counted: int
    seconds: Spread | None
    rate: Spread | None
    cpu_seconds: Spread | None
    peak_rss_bytes: Spread | None
    rejections: tuple[str, ...]


def standings(outcomes: Iterable[Outcome]) -> list[Standing]:
    """Every peer in every phase, in the order in which they first ran."""
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.work, outcome.phase, outcome.peer), []).append(outcome)
    return [_standing(*place, group) for place, group in groups.items()]


def _standing(work: str, phase: str, peer: str, group: Sequence[Outcome]) -> Standing:
    good = [outcome for outcome in group if outcome.counts]

    def spread(figure: Callable[[Outcome], float]) -> Spread | None:
        return Spread.of([figure(outcome) for outcome in good]) if good else None

    return Standing(
        work=work,
        phase=phase,
        peer=peer,
        runs=len(group),
        counted=len(good),
        seconds=spread(lambda outcome: outcome.seconds),
        rate=spread(lambda outcome: outcome.rate),
        cpu_seconds=spread(lambda outcome: outcome.cpu_seconds),
        peak_rss_bytes=spread(lambda outcome: outcome.peak_rss_bytes),
        rejections=tuple(dict.fromkeys(text for one in group for text in one.rejections)),
    )


def ratio(
    outcomes: Iterable[Outcome], work: str, phase: str, subject: str, peer: str
) -> Spread | None:
    """How many times the subject's time the peer needed, round by round; None without a pair."""
    rounds: dict[int, dict[str, float]] = {}
    for outcome in outcomes:
        if outcome.counts and (outcome.work, outcome.phase) == (work, phase):
            rounds.setdefault(outcome.round, {})[outcome.peer] = max(
                outcome.seconds, SHORTEST_SECONDS
            )
    pairs = [one[peer] / one[subject] for one in rounds.values() if {peer, subject} <= one.keys()]
    return Spread.of(pairs) if pairs else None
