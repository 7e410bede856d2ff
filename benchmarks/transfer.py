"""The comparison of transfers from beginning to end."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.capacity import BOUNDLESS, Gauge, describe, measure_capacity
from benchmarks.delay import find_means
from benchmarks.machine import describe_machine, touch_memory
from benchmarks.measure import run_measured
from benchmarks.peers.liar import Liar
from benchmarks.peers.peer import Direction, Peer
from benchmarks.peers.registry import PEERS
from benchmarks.plot import draw
from benchmarks.report import (
    Results,
    describe_budgets,
    describe_floor,
    describe_scene,
    place_of_scene,
    save,
)
from benchmarks.scene import (
    Scene,
    drop_slow,
    estimate_run_seconds,
    estimate_seconds,
    interleave,
    plan_scenes,
)
from benchmarks.tools import Tools, cache_folder, find_tools, say
from benchmarks.trial import Outcome, Stage, run_trial
from benchmarks.workloads import Manifest, Workload, make_files, workloads

_WARM_UP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for on the command line."""

    workloads: tuple[str, ...]
    peers: tuple[str, ...]
    directions: tuple[Direction, ...]
    rtts_ms: tuple[int, ...]
    with_faults: bool
    runs: int
    quick: bool
    seed: int
    limit_seconds: float
    work: Path
    fast: Path
    out: Path


def compare_transfers(wish: Wish) -> int:
    """Run everything that was wished for; 0 when every run counted."""
    chosen = [workloads(quick=wish.quick)[name] for name in wish.workloads]
    scenes = plan_scenes(chosen, wish.directions, wish.rtts_ms, with_faults=wish.with_faults)
    scenes = drop_slow(scenes) if wish.quick else scenes
    seconds = estimate_seconds(scenes, wish.peers, wish.runs)
    say(
        f"{len(scenes)} comparisons of {len(wish.peers)} peers, {wish.runs} runs each: "
        f"about {describe_time(seconds)}"
    )
    tools = find_tools(cache_folder(), azcopy="azcopy" in wish.peers)
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=wish.work) as work,
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=wish.fast) as fast,
    ):
        return _compare(wish, scenes, tools, Path(work), Path(fast))


def _compare(wish: Wish, scenes: Sequence[Scene], tools: Tools, work: Path, fast: Path) -> int:
    peers = [PEERS[name] for name in wish.peers]
    about = {
        **describe_machine(),
        "command": "python -m benchmarks " + " ".join(sys.argv[1:]),
        "peers": _describe_peers(peers, tools, work),
        "seed": wish.seed,
    }
    capacity = measure_capacity(tools, work, fast)
    say(describe(capacity))
    means = find_means()
    # Tiny sizes are over before their rate means anything, so no rate is held against them.
    gauge = Gauge(tools, work, fast, BOUNDLESS if wish.quick else capacity)
    stage = Stage(tools, work, fast, means, wish.seed, wish.limit_seconds, gauge)
    about["delay"] = means.value
    known = {scene.workload.name: scene.workload for scene in scenes}
    outcomes: list[Outcome] = []
    results = Results(about, capacity, known, outcomes)
    progress = _Progress(estimate_seconds(scenes, wish.peers, wish.runs))
    print(describe_floor())
    _warm_up(stage, peers, wish.directions)
    for workload in known.values():
        manifest = _prepare(stage, workload)
        for scene in (one for one in scenes if one.workload is workload):
            _run_scene(stage, scene, peers, wish.runs, manifest, outcomes, progress)
            if not wish.quick:
                results = replace(results, capacity=gauge.best)
            save(results, wish.out)
            print(f"\n{scene.label}\n{describe_scene(results, place_of_scene(scene))}", flush=True)
        shutil.rmtree(stage.blobs)
    if not wish.quick:
        print(f"\n{describe_budgets(results)}\n")
    for path in (wish.out, *draw(results, wish.out.parent, wish.out.stem)):
        print(f"wrote {path}")
    return 0 if all(outcome.counts for outcome in outcomes) else 1


def _describe_peers(
    peers: Sequence[Peer], tools: Tools, scratch: Path
) -> Mapping[str, Mapping[str, str]]:
    """Version and settings of everybody; also shows early who cannot be started at all."""
    described = {}
    for peer in peers:
        command, log = peer.version_command(tools), scratch / "version.log"
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(scratch), **command.environment}
        cost = run_measured(
            command.argv, environment, folder=scratch, log=log, limit_seconds=_WARM_UP_SECONDS
        )
        words = log.read_text(errors="replace").strip().splitlines()
        if cost.exit_code or not words:
            raise SystemExit(f"{peer.name} cannot be started:\n" + "\n".join(words))
        described[peer.name] = {"version": words[0], "settings": peer.settings}
        say(f"{peer.name}: {words[0]}")
    return described


def _warm_up(stage: Stage, peers: Sequence[Peer], directions: Sequence[Direction]) -> None:
    """Programs and their libraries come into the page cache; every peer proves that it works."""
    workload = workloads(quick=True)["small"]
    manifest = make_files(workload, stage.blobs, stage.seed)
    _catch_liar(stage, workload, manifest)
    for direction in directions:
        for peer in peers:
            outcome = run_trial(stage, Scene(workload, direction), peer, 0, manifest)
            if not outcome.counts:
                say(f"warm-up of {peer.name}: {'; '.join(outcome.rejections)}\n{outcome.words}")
    shutil.rmtree(stage.blobs)


def _catch_liar(stage: Stage, workload: Workload, manifest: Manifest) -> None:
    """Stop at once if a run that is certainly worthless would count."""
    outcome = run_trial(stage, Scene(workload, Direction.DOWNLOAD), Liar(), 0, manifest)
    text = "; ".join(outcome.rejections)
    if "has other bytes" not in text or "on the wire do not cover" not in text:
        raise SystemExit(f"the control was not rejected as it must be: {text or 'it counted'}")


def _prepare(stage: Stage, workload: Workload) -> Manifest:
    say(f"making {workload.title}")
    manifest = make_files(workload, stage.blobs, stage.seed)
    # Writing back what was just made would otherwise go on during the first runs.
    os.sync()
    touch_memory(stage.fast, workload.total_bytes)
    return manifest


def _run_scene(
    stage: Stage,
    scene: Scene,
    peers: Sequence[Peer],
    runs: int,
    manifest: Manifest,
    outcomes: list[Outcome],
    progress: _Progress,
) -> None:
    by_name = {peer.name: peer for peer in peers}
    for number, name in interleave(list(by_name), runs):
        started = time.monotonic()
        outcome = run_trial(stage, scene, by_name[name], number, manifest)
        outcomes.append(outcome)
        progress.passed(estimate_run_seconds(scene, name), time.monotonic() - started)
        verdict = "" if outcome.counts else f"  REJECTED: {'; '.join(outcome.rejections)}"
        say(
            f"[{progress.left()} left] {scene.label}: round {number}, {name}: "
            f"{outcome.wall_seconds:.2f} s{verdict}"
        )


class _Progress:
    """What is left, from how the estimates compared with the clock so far."""

    def __init__(self, estimated_seconds: float) -> None:
        self._estimated = estimated_seconds
        self._done = 0.0
        self._taken = 0.0

    def passed(self, estimated_seconds: float, taken_seconds: float) -> None:
        """A run is over that was expected to take this long and took that long."""
        self._done += estimated_seconds
        self._taken += taken_seconds

    def left(self) -> str:
        """In words."""
        pace = self._taken / self._done if self._done else 1.0
        return describe_time(max(0.0, self._estimated - self._done) * pace)


def describe_time(seconds: float) -> str:
    """Hours and minutes, or seconds if there are few."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
