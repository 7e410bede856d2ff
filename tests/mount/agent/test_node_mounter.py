"""Who mounts: the daemon where one answers, else the agent itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores.definitions import LocalFolder
from datastores.names import DatastoreName
from mount.agent.mounting import MountWish
from mount.agent.node_mounter import MountsBy, NodeMounter
from mount.errors import DaemonUnreachable
from mount.fuse.mounts import find_mount
from tests.mount.agent.jobs import ROOT


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A node's folders without a daemon; nothing stays mounted below them."""
    for variable, name in (
        ("DATASTORES_AGENT_STATE", "state"),
        ("DATASTORES_SPOOL", "spool"),
        ("DATASTORES_CACHE", "cache"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "store" / "train").mkdir(parents=True)
    (tmp_path / "store" / "train" / "a").write_text("alpha")
    yield tmp_path
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    assert [line for line in lines if str(tmp_path) in line] == []


@pytest.fixture
def daemon(node: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The node's daemon."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mount.cli", "daemon"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert any(b"serving" in line for line in process.stderr)
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def _wish(node: Path) -> MountWish:
    definition = LocalFolder(DatastoreName("images"), str(node / "store"))
    return MountWish("train", definition, "train", node / "at", is_writable=False)


def test_without_a_daemon_the_agent_mounts(node: Path) -> None:
    """Where no daemon answers the mount is the agent's own, and gone after the release."""
    mounter = NodeMounter(MountsBy.AUTO, node / "spools")

    refusal = mounter.refusal()
    mounted = mounter.mount(_wish(node))
    text = (node / "at" / "a").read_text()
    mounted.release(20)

    assert (refusal, text, find_mount(str(node / "at"))) == (None, "alpha", None)
    assert (node / "spools" / "train").is_dir()


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("by", [MountsBy.AUTO, MountsBy.DAEMON])
def test_a_daemon_that_answers_mounts(node: Path, by: MountsBy) -> None:
    """Where a daemon answers the mount is the daemon's."""
    from mount.daemon.client import find_daemon

    mounter = NodeMounter(by, node / "spools")
    found = find_daemon()
    assert found is not None

    mounted = mounter.mount(_wish(node))
    text = (node / "at" / "a").read_text()
    names = [one["at"] for one in found.daemon.status()["mounts"]]
    mounted.release(20)

    assert (text, names) == ("alpha", [[str(node / "at")]])
    assert not (node / "spools").exists()


@pytest.mark.usefixtures("daemon")
def test_own_mounts_go_past_the_daemon(node: Path) -> None:
    """Who asks for own mounts gets them, also where a daemon answers."""
    mounter = NodeMounter(MountsBy.OWN, node / "spools")

    mounted = mounter.mount(_wish(node))
    is_own = (node / "spools" / "train").is_dir()
    mounted.release(20)

    assert is_own


def test_a_daemon_that_is_asked_for_and_absent(node: Path) -> None:
    """Who asks for the daemon where none answers hears how to start one."""
    mounter = NodeMounter(MountsBy.DAEMON, node / "spools")

    assert mounter.refusal() == (
        'no daemon answers on this node; start it with "datastores-agent daemon"'
    )


def test_a_daemon_that_dies_before_the_mount(
    node: Path, daemon: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """When the daemon is gone between question and mount the agent mounts itself, with a warning."""
    auto, strict = (NodeMounter(by, node / "spools") for by in (MountsBy.AUTO, MountsBy.DAEMON))
    assert (auto.refusal(), strict.refusal()) == (None, None)
    daemon.kill()
    daemon.wait(60)

    with pytest.raises(DaemonUnreachable):
        strict.mount(_wish(node))
    mounted = auto.mount(_wish(node))
    text = (node / "at" / "a").read_text()
    mounted.release(20)

    assert text == "alpha"
    assert [one.message for one in caplog.records if "by the agent itself" in one.message] != []
