"""Runs as the harness writes them down, for tests of what it makes of them."""

from __future__ import annotations

from benchmarks.mounts.outcome import Outcome as MountOutcome
from benchmarks.trial import Outcome


def ran(peer: str, number: int, seconds: float, **more: object) -> Outcome:
    """One transfer that counts, unless `more` says otherwise."""
    fields = {
        "workload": "small",
        "direction": "download",
        "rtt_ms": 0,
        "failing_percent": 0.0,
        "cpu_seconds": seconds / 2,
        "peak_rss_bytes": 100 << 20,
        "requests": 10,
        "refused_requests": 0,
        "wire_bytes": 1000,
        "delivered_bytes": 1000,
        "endpoint_cpu_seconds": 0.1,
        "rejections": (),
        "left_behind": 0,
        "words": "",
        **more,
    }
    return Outcome(peer=peer, round=number, wall_seconds=seconds, **fields)  # type: ignore[arg-type]  # fields by name


def mounted(peer: str, number: int, seconds: float, **more: object) -> MountOutcome:
    """One phase in a mount that counts, unless `more` says otherwise."""
    fields = {
        "work": "small-8",
        "phase": "warm",
        "units": 1000,
        "cpu_seconds": 0.1,
        "peak_rss_bytes": 50 << 20,
        "rejections": (),
        **more,
    }
    return MountOutcome(peer=peer, round=number, seconds=seconds, **fields)  # type: ignore[arg-type]  # fields by name
