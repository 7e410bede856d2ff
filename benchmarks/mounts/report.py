"""Results as tables for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.mounts.outcome import Outcome, Standing, ratio, standings
from benchmarks.mounts.peers import OURS
from benchmarks.mounts.promises import Verdict, judge
from benchmarks.mounts.works import Work
from benchmarks.summary import Spread
from benchmarks.workloads import MIB

_FORMAT = 1


def save(about: Mapping[str, Any], outcomes: Sequence[Outcome], path: Path) -> None:
    """Write everything as JSON."""
    document = {
        "format": _FORMAT,
        "about": dict(about),
        "runs": [outcome.to_json() for outcome in outcomes],
        "comparisons": [asdict(standing) for standing in standings(outcomes)],
        "budgets": [
            {
                **asdict(verdict.promise),
                "phase": verdict.promise.phase.value,
                "got": asdict(verdict.got),
                "met": verdict.met,
            }
            for verdict in judge(outcomes)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def describe_work(work: Work, outcomes: Sequence[Outcome]) -> str:
    """The tables of a work: every peer in each phase, then its time in ours."""
    unit = "MiB/s" if work.of_bytes else "/s"
    lines = []
    for phase in work.phases:
        lines.append(
            f"{phase.value + ', ' + work.name:20} {'seconds, median [min-max]':>27} {unit:>9}"
            f" {'CPU s':>7} {'RSS MiB':>8} {'ratio, median [min-max]':>25}  runs"
        )
        for one in standings(outcomes):
            if (one.work, one.phase) == (work.name, phase.value):
                lines.append(_row(work, one, outcomes))
                lines += [f"{'':20} ! {text}" for text in one.rejections]
    return "\n".join(lines)


def _row(work: Work, one: Standing, outcomes: Sequence[Outcome]) -> str:
    head, tail = f"  {one.peer:18} ", f"  {one.counted}/{one.runs}"
    if not (one.seconds and one.rate and one.cpu_seconds and one.peak_rss_bytes):
        return f"{head}{'no run counted':>27}{tail}"
    rate = one.rate.median / MIB if work.of_bytes else one.rate.median
    compared = ratio(outcomes, one.work, one.phase, OURS, one.peer)
    return (
        f"{head}{_spread(one.seconds, 3):>27} {rate:>9,.0f} {one.cpu_seconds.median:>7.2f}"
        f" {one.peak_rss_bytes.median / MIB:>8.0f}"
        f" {_spread(compared, 2) if compared else '':>25}{tail}"
    )


def describe_promises(verdicts: Sequence[Verdict]) -> str:
    """Every promise these runs can decide, met or not."""
    lines = ["budgets:"] if verdicts else []
    for verdict in verdicts:
        promise = verdict.promise
        aim = f">= {promise.bound:g}x {promise.peer}"
        lines.append(
            f"  {'met    ' if verdict.met else 'NOT MET'} {promise.phase.value} {promise.work:14}"
            f" {aim:22} got {_spread(verdict.got, 2)}"
        )
    return "\n".join(lines)


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} [{spread.least:.{digits}f}-{spread.most:.{digits}f}]"
