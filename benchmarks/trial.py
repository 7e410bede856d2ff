"""One run of one peer: an empty target, a fresh endpoint, the clock, and the proof afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.capacity import Gauge
from benchmarks.delay import Means, delayed
from benchmarks.endpoint import Endpoint, Traffic
from benchmarks.faults import Faults
from benchmarks.measure import Cost, run_measured
from benchmarks.peers.peer import Direction, Peer, Task
from benchmarks.scene import Scene
from benchmarks.sink import Sink
from benchmarks.tools import Tools
from benchmarks.workloads import Manifest, differences, files_below

_REPOSITORY = Path(__file__).resolve().parent.parent
_CONTAINER = "data"


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that stays the same from one run to the next."""

    tools: Tools
    # On a disk; holds the blobs, which are then served from the page cache.
    work: Path
    # In memory; takes what arrives, in both directions.
    fast: Path
    means: Means
    seed: int
    limit_seconds: float
    gauge: Gauge

    @property
    def blobs(self) -> Path:
        return self.work / "blobs" / _CONTAINER


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run cost and whether it counts; `rejections` is empty if it does."""

    peer: str
    workload: str
    direction: str
    rtt_ms: int
    failing_percent: float
    round: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    requests: int
    refused_requests: int
    wire_bytes: int
    delivered_bytes: int
    endpoint_cpu_seconds: float
    rejections: tuple[str, ...]
    # Files that nobody sent, in a download's target or an upload's source, such as journals.
    left_behind: int
    words: str

    @property
    def counts(self) -> bool:
        return not self.rejections

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain values."""
        return {**asdict(self), "rejections": list(self.rejections)}


def run_trial(stage: Stage, scene: Scene, peer: Peer, number: int, manifest: Manifest) -> Outcome:
    """Let the peer do the scene once."""
    target, scratch = stage.fast / "target", stage.fast / "scratch"
    sink = Sink(stage.work if scene.direction is Direction.DOWNLOAD else stage.fast / "sink")
    folders = (target, scratch, stage.fast / "sink")
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    downloading = scene.direction is Direction.DOWNLOAD
    faults = Faults(scene.failing_percent, stage.seed)
    try:
        with (
            delayed(scene.rtt_ms, stage.means) as delay,
            Endpoint(
                stage.tools,
                sink,
                stage.work / "run",
                frozen=downloading,
                delay=delay,
                faults=faults,
            ) as endpoint,
        ):
            task = Task(
                direction=scene.direction,
                address=endpoint.address,
                folder=target if downloading else stage.blobs,
                floor=stage.blobs if downloading else sink.blobs / _CONTAINER,
                scratch=scratch,
                tools=stage.tools,
            )
            command = peer.command(task)
            cost = run_measured(
                [*delay.prefix, *command.argv],
                clean_environment(command.environment, scratch),
                folder=_REPOSITORY,
                log=scratch / "output.log",
                limit_seconds=stage.limit_seconds,
            )
        traffic = endpoint.count_traffic()
        return _judge(stage, scene, peer, number, manifest, cost, traffic)
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def clean_environment(more: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """A clean one: nobody's configuration, proxies or credentials reach a peer."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(scratch), "TMPDIR": str(scratch), **more}


def _judge(
    stage: Stage,
    scene: Scene,
    peer: Peer,
    number: int,
    manifest: Manifest,
    cost: Cost,
    traffic: Traffic,
) -> Outcome:
    downloading = scene.direction is Direction.DOWNLOAD
    if downloading:
        # Journals beside the target are the peer's own business; they are counted, not refused.
        found = files_below(stage.fast / "target")
        arrived = {name: [path] for name, path in found.items() if name in manifest}
        left_behind = len(found) - len(arrived)
    else:
        arrived = Sink(stage.fast / "sink").arrived(_CONTAINER)
        left_behind = _remove_strangers(stage.blobs, manifest)
    delivered = sum(print_.size for print_ in manifest.values())
    wire = traffic.bytes_out if downloading else traffic.bytes_in
    rejections = [
        *_failures(cost),
        *differences(manifest, arrived)[:3],
        *(
            _evasions(cost, traffic, wire, delivered, stage.gauge, scene)
            if peer.uses_network
            else ()
        ),
    ]
    return Outcome(
        peer=peer.name,
        workload=scene.workload.name,
        direction=scene.direction.value,
        rtt_ms=scene.rtt_ms,
        failing_percent=scene.failing_percent,
        round=number,
        wall_seconds=round(cost.wall_seconds, 4),
        cpu_seconds=round(cost.cpu_seconds, 4),
        peak_rss_bytes=cost.peak_rss_bytes,
        requests=traffic.requests,
        refused_requests=traffic.refused,
        wire_bytes=wire,
        delivered_bytes=delivered,
        endpoint_cpu_seconds=round(traffic.cpu_seconds, 4),
        rejections=tuple(rejections),
        left_behind=left_behind,
        words=_last_words(stage.fast / "scratch/output.log", cost),
    )


def _remove_strangers(folder: Path, manifest: Manifest) -> int:
    """Take away what an upload left in its source, lest the next peer sends it too."""
    strangers = [path for name, path in files_below(folder).items() if name not in manifest]
    for path in strangers:
        path.unlink()
    return len(strangers)


def _failures(cost: Cost) -> list[str]:
    if cost.timed_out:
        return [f"did not finish in {cost.wall_seconds:.0f} s"]
    return [f"exit code {cost.exit_code}"] if cost.exit_code else []


def _evasions(
    cost: Cost, traffic: Traffic, wire: int, delivered: int, gauge: Gauge, scene: Scene
) -> list[str]:
    """Why the figure, although the files are right, does not measure the peer."""
    found = gauge.objections(
        scene.direction, wire / cost.wall_seconds, traffic.requests / cost.wall_seconds
    )
    if traffic.broken:
        found.append(f"the endpoint failed: {'; '.join(traffic.errors[:1])}")
    if wire < delivered:
        found.append(f"{wire} bytes on the wire do not cover the {delivered} delivered")
    return found


def _last_words(log: Path, cost: Cost) -> str:
    if cost.exit_code == 0 or not log.exists():
        return ""
    return log.read_text(errors="replace")[-2000:]
