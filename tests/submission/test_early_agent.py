"""Agents that wait for their job while their runner gets ready."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from datastores.contract import (
    Command,
    InputMode,
    InputSpec,
    JobSpec,
    OutputMode,
    OutputSpec,
)
from datastores.definitions import BlobContainer, LocalFolder
from datastores.names import DatastoreName
from datastores.submission.agent_process import AgentProcess, expected
from datastores.submission.early_agent import early_agent
from datastores.submission.order import (
    JobOrder,
    Order,
    PipelineOrder,
    Place,
    TransferOrder,
    order_to_wire,
)
from datastores.submission.place import RunPlace

CLOUD = BlobContainer(DatastoreName("cloud"), "images", "acme")
SPEC = JobSpec("run_1", "exp", Command(shell="true"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlace:
    """A run's folder with an order for one agent."""
    monkeypatch.setenv("DATASTORES_AGENT_STATE", str(tmp_path / "state"))
    made = RunPlace(tmp_path / "run_1")
    made.make()
    made.save_order(order_to_wire(JobOrder(SPEC)))
    return made


def test_an_agent_waits_for_its_job_and_does_it(place: RunPlace) -> None:
    """It is at work before the job is known, and does it when it is told."""
    agent = early_agent(place)

    assert agent is not None
    still_waiting = agent.wait(0)
    agent.tell(SPEC)
    agent.dismiss()
    assert (still_waiting, agent.wait(60)) == (None, 0)
    assert place.load_report() is not None


def test_an_agent_without_a_job_is_ended(place: RunPlace) -> None:
    """Dismissed before it was told anything, it is gone and has left nothing; twice is fine."""
    agent = early_agent(place)
    assert agent is not None

    agent.dismiss()
    agent.dismiss()

    assert agent.wait(0) == -9
    assert not place.has_begun()


@pytest.mark.parametrize(
    "order",
    [
        TransferOrder(Place("a", "x"), Place("b", "y")),
        PipelineOrder(()),
    ],
)
def test_other_orders_have_no_agent(place: RunPlace, order: Order) -> None:
    """Copies and pipelines are no job for one agent."""
    place.save_order(order_to_wire(order))

    assert early_agent(place) is None


def test_what_is_canceled_or_at_work_has_no_second_agent(place: RunPlace) -> None:
    """Nobody is started for a run that is to end, or that an agent works on."""
    with (place.root / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        at_work = early_agent(place)
    place.cancel_mark.touch()

    assert (at_work, early_agent(place)) == (None, None)


@pytest.mark.parametrize("text", ["", "[", '{"kind": "job"}', '{"kind": "job", "spec": {}}'])
def test_a_broken_order_is_left_to_whoever_reads_it(place: RunPlace, text: str) -> None:
    """What is no order starts no agent and raises nothing here."""
    place.order.write_text(text)

    assert early_agent(place) is None


def test_an_agent_is_told_what_to_expect() -> None:
    """Each mode and each kind of store once; a job without data expects nothing."""
    spec = JobSpec(
        "run_1",
        "exp",
        Command(shell="true"),
        inputs=(
            InputSpec("a", InputMode.MOUNT, CLOUD),
            InputSpec("b", InputMode.DOWNLOAD, CLOUD),
            InputSpec("c", InputMode.DOWNLOAD, LocalFolder(DatastoreName("here"), "/x")),
        ),
        outputs=(OutputSpec("d", OutputMode.UPLOAD, CLOUD),),
    )

    words = [expected(order_to_wire(JobOrder(one))["spec"]) for one in (spec, SPEC)]

    assert words == [["download", "mount", "upload", "AzureBlob", "Local"], []]


def test_an_agent_whose_runner_dies_ends_with_a_sentence(tmp_path: Path) -> None:
    """A pipe that is closed without a job is no job, whatever was loaded for it."""
    answer = subprocess.run(
        [sys.executable, "-m", "mount.cli", "run", "-", "--folder", str(tmp_path / "run")]
        + [f"--expect={word}" for word in ("mount", "download", "upload", "AzureBlob", "new")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert answer.returncode == 15
    assert "the job spec is not JSON" in answer.stderr
    assert not (tmp_path / "run").exists()


def test_a_dead_agent_takes_its_job_without_a_word(place: RunPlace) -> None:
    """An agent that was killed while it waited is found dead by its exit code, and not before."""
    agent = AgentProcess.launch(place, order_to_wire(JobOrder(SPEC)))
    agent.interrupt()
    agent.wait(60)

    agent.tell(SPEC)

    assert agent.wait(0) in (-2, 130)
