"""What the doctor finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mount.agent.doctor import examine, visit
from mount.cli import run
from tests.mount.agent.cloud import Cloud
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
        "idle processors",
        "disk",
        "memory for leases",
        "clock",
        "python",
    ]
    assert all(one["cost"] for one in findings if not one["is_good"])


@pytest.mark.parametrize(("watches_ns", "found"), [("0", "sleep at once"), ("200000", "watch")])
def test_processors_that_sleep_at_once_are_told_of(
    watches_ns: str, found: str, tmp_path: Path
) -> None:
    """A virtual machine that may watch for work and does not is told what that costs, and how."""
    driver = Path("/sys/devices/system/cpu/cpuidle/current_driver")
    watching = tmp_path / "guest_halt_poll_ns"
    watching.write_text(watches_ns)

    finding = next(one for one in examine(tmp_path, watching=watching) if "idle" in one.what)

    if driver.exists() and driver.read_text().strip() == "haltpoll":
        assert finding.found.startswith(found)
        assert str(watching) in finding.cost or watches_ns != "0"
    else:
        assert finding.is_good


def test_a_named_datastore_is_opened(tmp_path: Path) -> None:
    """One that answers is good and the exit code 0; one that is not there is 1, with its reason."""
    (tmp_path / "data").mkdir()
    there = Agent.start(["doctor", "--json", f"file://{tmp_path / 'data'}"]).end()
    absent = Agent.start(["doctor", "--json", "-w", "nowhere", "images"]).end()

    assert (there.code, absent.code) == (0, 1)
    good, bad = json.loads(there.out)[-1], json.loads(absent.out)[-1]
    assert (good["what"], good["is_good"]) == ("datastore data", True)
    assert (bad["what"], bad["is_good"]) == ("datastore images", False)
    assert "nowhere" in bad["found"]


def test_a_store_that_refuses_is_told_in_its_words(cloud: Cloud) -> None:
    """A credential that the service refuses is found, and what that means for jobs."""
    assert visit(cloud.definition, "", cloud.lease).is_good
    wrong = replace(cloud.definition, container="nothere")
    finding = visit(wrong, "", cloud.lease)

    assert not finding.is_good
    assert finding.cost.startswith("jobs with it as an input or output are refused")


def test_wrong_usage_is_two(tmp_path: Path) -> None:
    """A spec that does not exist is wrong usage, and a folder without a run is refused with 21."""
    assert run(["run", str(tmp_path / "nothing.json")]) == 2
    assert run(["resume", str(tmp_path)]) == 21
