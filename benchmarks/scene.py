"""What is measured when: the plan, its order and how long it will take. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.peers.peer import Direction
from benchmarks.workloads import GIB, Workload

FAILING_PERCENT = 5.0

# What one run costs on two cores, rough, for the estimate only: seconds to start, files per second,
# GiB per second, requests in flight when the round trip is long.
_SPEEDS: dict[str, tuple[float, float, float, int]] = {
    "datastores": (0.4, 2500, 0.8, 64),
    "datastores-unchecked": (0.4, 2500, 0.8, 64),
    "obstore-plain": (0.4, 1200, 0.7, 16),
    "rclone": (0.1, 1200, 0.6, 32),
    "azcopy": (0.5, 800, 0.4, 32),
    "azure-sdk": (0.7, 350, 0.4, 16),
    "adlfs": (1.2, 250, 0.35, 64),
    "cp": (0.0, 12000, 1.5, 10**9),
}
_OVERHEAD_SECONDS = 1.0
_CHECK_GIB_PER_SECOND = 1.2
_CHECK_FILES_PER_SECOND = 8000


@dataclass(frozen=True, slots=True)
class Scene:
    """One comparison: everybody does this, in these circumstances."""

    workload: Workload
    direction: Direction
    rtt_ms: int = 0
    failing_percent: float = 0.0

    @property
    def circumstances(self) -> str:
        if self.failing_percent:
            return f"{self.failing_percent:g} % of requests fail"
        return f"{self.rtt_ms} ms round trip" if self.rtt_ms else "local"

    @property
    def label(self) -> str:
        return f"{self.direction.value}, {self.workload.title}, {self.circumstances}"


def plan_scenes(
    workloads: Iterable[Workload],
    directions: Iterable[Direction],
    rtts_ms: Sequence[int],
    *,
    with_faults: bool,
) -> list[Scene]:
    """Every comparison; scenes of one workload stand together, so that its data is made once."""
    ways = tuple(directions)
    return [
        scene
        for workload in workloads
        for direction in ways
        for scene in (
            *(Scene(workload, direction, rtt_ms) for rtt_ms in rtts_ms),
            *([Scene(workload, direction, 0, FAILING_PERCENT)] if with_faults else []),
        )
    ]


def drop_slow(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes with only one failing: the SDK pauses 15 s after a refusal, whatever the size."""
    failing = [scene for scene in scenes if scene.failing_percent]
    return [scene for scene in scenes if scene not in failing[1:]]


def interleave(peers: Sequence[str], runs: int) -> Iterator[tuple[int, str]]:
    """Rounds in which everybody has one turn (A B C A B C), numbered from one."""
    for number in range(1, runs + 1):
        for peer in peers:
            yield number, peer


def estimate_seconds(scenes: Iterable[Scene], peers: Sequence[str], runs: int) -> float:
    """How long it will take, all in all; within a factor of two or so."""
    return runs * sum(estimate_run_seconds(scene, peer) for scene in scenes for peer in peers)


def estimate_run_seconds(scene: Scene, peer: str) -> float:
    """One run with its checks."""
    start, files_per_second, gib_per_second, in_flight = _SPEEDS[peer]
    files, gib = len(scene.workload.sizes), scene.workload.total_bytes / GIB
    waiting = files * scene.rtt_ms / 1000 / in_flight
    moving = max(files / files_per_second + gib / gib_per_second, waiting)
    checking = gib / _CHECK_GIB_PER_SECOND + files / _CHECK_FILES_PER_SECOND
    stumbling = 10.0 if scene.failing_percent else 0.0
    return _OVERHEAD_SECONDS + start + moving + checking + stumbling
