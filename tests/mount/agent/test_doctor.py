"""What the doctor finds."""

from __future__ import annotations

import json
from pathlib import Path

from mount.agent.doctor import examine
from mount.cli import run
from tests.mount.agent.jobs import Agent


def test_a_node_without_fuse_is_told_what_that_costs(tmp_path: Path) -> None:
    """Without the device the finding says that mounts become downloads, and what to do."""
    finding = examine(tmp_path, tmp_path / "fuse")[0]

    assert (finding.what, finding.found, finding.is_good) == (
        "fuse",
        f"no {tmp_path / 'fuse'}",
        False,
    )
    assert finding.cost.startswith("mounts become downloads at the same paths; ")


def test_everything_is_looked_at() -> None:
    """`doctor --json` has one finding for each thing, and whatever is missing has its cost."""
    ended = Agent.start(["doctor", "--json"]).end()

    findings = json.loads(ended.out)
    assert ended.code == 0
    assert [one["what"] for one in findings] == [
        "fuse",
        "right to mount",
        "kernel",
        "disk",
        "memory for leases",
        "clock",
        "python",
    ]
    assert all(one["cost"] for one in findings if not one["is_good"])


def test_wrong_usage_is_two(tmp_path: Path) -> None:
    """A spec that does not exist is wrong usage, and a folder without a run is refused with 21."""
    assert run(["run", str(tmp_path / "nothing.json")]) == 2
    assert run(["resume", str(tmp_path)]) == 21
