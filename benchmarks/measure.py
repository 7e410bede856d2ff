"""What a process costs: wall, CPU, memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent
# Killing and reaping a process that was over its limit.
_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One process with all its children, from before the exec to after the exit."""

    wall_seconds: float
    cpu_seconds: float
    # The larger of two readings: the largest single process as the kernel accounted it, and the
    # sum over the session, sampled five times a second. Never below the 12 MiB of `clock` itself.
    peak_rss_bytes: int
    exit_code: int
    timed_out: bool


def run_measured(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    folder: Path,
    log: Path,
    limit_seconds: float,
) -> Cost:
    """Run a command in a session of its own and wait for it; past the limit it is killed."""
    order = {
        "argv": list(argv),
        "environment": dict(environment),
        "folder": str(folder),
        "log": str(log),
        "limit_seconds": limit_seconds,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.clock"],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as clock:
        try:
            printed, _ = clock.communicate(
                json.dumps(order).encode(), timeout=limit_seconds + _GRACE_SECONDS
            )
        except BaseException:
            clock.terminate()
            raise
    if clock.returncode:
        raise SystemExit(f"the clock stopped with exit code {clock.returncode}")
    return Cost(**json.loads(printed))
