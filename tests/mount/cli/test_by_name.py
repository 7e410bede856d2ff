"""Mounting a datastore by its name: the agent asks `datastores`, and opens no registry itself."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datastores import Datastore, Workspace
from tests.mount.cli.conftest import Call
from tests.mount.daemon.node import Node
from tests.servers.azurite import Azurite

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"


@pytest.fixture
def images(node: Node, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    """A container "images" of the workspace of this folder, registered with an account key."""
    project = node.root / "project"
    project.mkdir()
    monkeypatch.setenv("DATASTORES_HOME", str(node.root / "home"))
    node.environment["DATASTORES_HOME"] = str(node.root / "home")
    monkeypatch.chdir(project)
    workspace = Workspace.create("demo")
    workspace.write_config()
    made = Datastore.register_azure_blob_container(
        workspace,
        "images",
        azurite.container(),
        azurite.account,
        account_key=azurite.key.reveal(),
        endpoint=azurite.endpoint,
    )
    source = node.root / "source" / "train"
    source.mkdir(parents=True)
    (source / "a.txt").write_text("alpha")
    made.upload(str(source.parent), show_progress=False)
    return "images"


def lease(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """`datastores lease` as the agent calls it."""
    command = [sys.executable, "-m", "datastores", "lease", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_a_datastore_is_mounted_by_its_name(call: Call, node: Node, images: str) -> None:
    """Mount, read, write and unmount, without the account key ever leaving the registry."""
    at = node.path("data")

    mounted = call("mount", f"{images}:train", at)
    text = (at / "a.txt").read_text()
    (at / "b.txt").write_text("beta")
    found = call("status", "--json").json["mounts"][0]
    left = call("unmount", at)

    assert (mounted.code, text, left.code) == (0, "alpha", 0)
    assert (found["place"], found["renewed_from"]) == ("train", "images:train")
    assert found["host"]["lease_ends"] is not None
    files = [path for path in node.root.rglob("*") if path.is_file()]
    kept = [path for path in files if (node.root / "home") not in path.parents]
    assert [path for path in kept if KEY in path.read_text("latin-1")] == []
    assert [path for path in kept if "sig=" in path.read_text("latin-1")] == []


def test_read_only_leases_no_right_to_write(images: str) -> None:
    """The lease for a read-only mount may read and list; with --write also the rest."""
    reading = json.loads(lease("images:train", "--json").stdout)
    writing = json.loads(lease("images:train", "--json", "--write").stdout)

    rights = [
        dict(part.split("=", 1) for part in one["lease"]["secrets"]["token"].split("&"))["sp"]
        for one in (reading, writing)
    ]
    assert rights == ["rl", "racwdl"]
    assert (reading["version"], reading["place"]) == (1, "train")
    assert reading["definition"]["kind"] == "AzureBlob"


def test_a_lease_is_not_shown_to_a_terminal(images: str) -> None:
    """On a terminal, or without --json, nothing of the lease is printed."""
    ours, theirs = pty.openpty()
    refused = subprocess.run(
        [sys.executable, "-m", "datastores", "lease", "images:", "--json"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        shown = os.read(ours, 4096)
    except (BlockingIOError, OSError):
        shown = b""
    os.close(ours)

    assert (refused.returncode, shown) == (2, b"")
    assert "through a pipe" in refused.stderr
    assert lease("images:").returncode == 2


def test_an_unknown_name_has_the_other_planes_sentence(call: Call, images: str, node: Node) -> None:
    """The error of `datastores` is ours, with its exit code."""
    refused = call("mount", "nothing:x", node.path("data"), "--json")

    told = json.loads(refused.err)
    assert (refused.code, told["exit_code"]) == (4, 4)
    assert 'no datastore "nothing"' in told["message"]


def test_a_lost_host_gets_a_fresh_lease(call: Call, node: Node, images: str) -> None:
    """When daemon and host are killed, the next daemon asks for a lease again, and the path works."""
    at = node.path("data")
    call("mount", images, at, "--read-only")
    host = call("status", "--json").json["mounts"][0]["host"]
    for pid in (node.daemon.health()["pid"], host["pid"], host["worker"]):
        os.kill(pid, signal.SIGKILL)
    node.until(lambda: node.home.is_taken, False)

    call("status")

    def read() -> str:
        try:
            return Path(at, "train", "a.txt").read_text()
        except OSError as error:
            return str(error)

    node.until(read, "alpha")
    assert call("unmount", at).code == 0
