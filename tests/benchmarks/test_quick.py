"""The comparison of transfers as a stranger runs it, in small sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_quick_comparison_runs_from_beginning_to_end(tmp_path: Path) -> None:
    """Every run of ours, of a peer and of the floor counts, and charts stand beside the results."""
    out = tmp_path / "quick.json"
    chosen = ("--workloads", "small", "--peers", "datastores,rclone,cp", "--rtt", "0")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "transfer", "--quick", *chosen, "--out", str(out)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        # The first time it fetches nginx and rclone.
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    comparisons = json.loads(out.read_text())["comparisons"]
    assert {
        (one["peer"], one["place"]["direction"], one["place"]["failing_percent"])
        for one in comparisons
    } == {
        (peer, direction, failing)
        for peer in ("datastores", "rclone", "cp")
        for direction, failing in (("download", 0.0), ("download", 5.0), ("upload", 0.0))
    }
    assert [(one["counted"], one["rejections"]) for one in comparisons] == [(1, [])] * 9
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == [
        "quick-download-0ms.svg",
        "quick-download-failing.svg",
        "quick-upload-0ms.svg",
    ]
