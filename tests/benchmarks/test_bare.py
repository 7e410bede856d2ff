"""The benchmarks before anything is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_command_line_needs_python_alone() -> None:
    """An interpreter without a single library shows the help; what is missing is fetched later."""
    bare = [sys.executable, "-S", "-m", "benchmarks", "transfer", "--help"]

    done = subprocess.run(
        bare, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "--workloads" in done.stdout
