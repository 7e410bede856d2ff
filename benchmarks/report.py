"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.budget import Figure, judge
from benchmarks.capacity import Capacity
from benchmarks.peers.registry import FLOOR, OURS
from benchmarks.scene import Scene
from benchmarks.summary import Place, Spread, Standing, ratios, standings
from benchmarks.trial import Outcome
from benchmarks.workloads import MIB, Workload

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Results:
    """Everything one invocation found out."""

    about: Mapping[str, Any]
    capacity: Capacity
    workloads: Mapping[str, Workload]
    outcomes: Sequence[Outcome]

    @property
    def subject(self) -> str:
        """Whom the ratios are about: our engine, or whoever comes first where it was not asked."""
        names = [outcome.peer for outcome in self.outcomes]
        return OURS if OURS in names else names[0]


def save(results: Results, path: Path) -> None:
    """Write the results as JSON."""
    workloads = {
        name: {
            "title": workload.title,
            "files": len(workload.sizes),
            "bytes": workload.total_bytes,
            "of_files": workload.of_files,
        }
        for name, workload in results.workloads.items()
    }
    document = {
        "format": _FORMAT,
        "about": dict(results.about),
        "capacity": asdict(results.capacity),
        "workloads": workloads,
        "runs": [outcome.to_json() for outcome in results.outcomes],
        "comparisons": [asdict(standing) for standing in standings(results.outcomes)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def load(path: Path) -> Results:
    """Read what `save` wrote."""
    document = json.loads(path.read_text())
    if document["format"] != _FORMAT:
        raise SystemExit(f'"{path}" has format {document["format"]}; this reads {_FORMAT}')
    workloads = {
        name: Workload(
            name, fields["title"], _sizes(fields["files"], fields["bytes"]), fields["of_files"]
        )
        for name, fields in document["workloads"].items()
    }
    outcomes = [
        Outcome(**{**run, "rejections": tuple(run["rejections"])}) for run in document["runs"]
    ]
    return Results(document["about"], Capacity(**document["capacity"]), workloads, outcomes)


def _sizes(files: int, total: int) -> tuple[int, ...]:
    """Sizes with this count and sum; which file had which no longer matters."""
    return (total, *(0,) * (files - 1))


def describe_scene(results: Results, place: Place) -> str:
    """The comparison's table: every peer, then our ratio to each."""
    head = (
        f"{'peer':14} {'seconds, median [min-max]':>27} {'rate':>13} {'CPU s':>7} {'RSS MiB':>8}"
        f" {'requests':>9} {'wire MiB':>9} {'ratio, median [min-max]':>25}  runs"
    )
    lines = [head]
    for standing in standings(results.outcomes):
        if standing.place == place:
            lines.append(_row(results, standing))
            lines += [f"{'':14} ! {text}" for text in standing.rejections]
    return "\n".join(lines)


def _row(results: Results, standing: Standing) -> str:
    head = f"{standing.peer:14} "
    tail = f"  {standing.counted}/{standing.runs}"
    wall, cpu, rss = standing.wall_seconds, standing.cpu_seconds, standing.peak_rss_bytes
    if not (wall and cpu and rss and standing.requests and standing.wire_bytes):
        return f"{head}{'no run counted':>27}{tail}"
    ratio = ratios(
        results.outcomes,
        standing.place,
        results.subject,
        standing.peer,
        lambda outcome: outcome.wall_seconds,
    )
    return (
        f"{head}{_spread(wall, 2):>27} {_rate(results, standing, wall.median):>13}"
        f" {cpu.median:7.2f} {rss.median / MIB:8.0f} {standing.requests.median:9.0f}"
        f" {standing.wire_bytes.median / MIB:9.0f} {_spread(ratio, 2) + 'x' if ratio else '':>25}"
        f"{tail}"
    )


def _rate(results: Results, standing: Standing, seconds: float) -> str:
    workload = results.workloads[standing.place.workload]
    if workload.of_files:
        return f"{len(workload.sizes) / seconds:,.0f} files/s"
    return f"{workload.total_bytes / MIB / seconds:,.0f} MiB/s"


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} [{spread.least:.{digits}f}-{spread.most:.{digits}f}]"


def describe_budgets(results: Results) -> str:
    """Every promise these runs can decide, met or not."""
    verdicts = judge(results.outcomes, results.subject)
    if not verdicts:
        return ""
    whose = "" if results.subject == OURS else f" (for {results.subject}: ours was not measured)"
    lines = [f"budgets{whose}:"]
    for verdict in verdicts:
        promise = verdict.promise
        aim = f"<= {promise.bound:g} MiB"
        if promise.peer is not None:
            aim = f">= {promise.bound:g}x {promise.peer}"
        digits = 0 if promise.figure is Figure.MEMORY else 2
        where = f"{promise.direction} {verdict.place.workload} {verdict.place.rtt_ms} ms"
        lines.append(
            f"  {'met    ' if verdict.met else 'NOT MET'} {where:24} {promise.figure.value:12}"
            f"{aim:18} got {_spread(verdict.got, digits)}"
        )
    return "\n".join(lines)


def describe_floor() -> str:
    """What the ratio column means."""
    return (
        f'ratio: how many times our time the peer needed, round by round; "{FLOOR}" moves the same '
        "files without a network"
    )


def place_of_scene(scene: Scene) -> Place:
    """The comparison that a scene asks for."""
    return Place(scene.workload.name, scene.direction.value, scene.rtt_ms, scene.failing_percent)
