"""What goes with a workspace, and what stays."""

from __future__ import annotations

import fcntl
import json
import subprocess
from pathlib import Path

import pytest

from datastores import Workspace
from datastores.errors import DefinitionRejected
from mount.cache import CacheKey, NodeCache
from tests.servers.postgres import PostgresServer


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    """The workspace's folder, with a run that ended, one with results left, and a cache."""
    root = Path(workspace.registry_place).parent
    for name, is_settled in (("good", True), ("left", False)):
        run = root / "runs" / name
        (run / "work").mkdir(parents=True)
        for file in ("order.json", "journal", "lock", "runner.lock", "work/result"):
            (run / file).touch()
        (run / "report.json").write_text(json.dumps({"is_settled": is_settled}))
    cache = NodeCache.open(root / "cache", quota_bytes=1 << 20, reserve_bytes=0)
    cache.put(CacheKey("store", "a", "v1", 5), b"alpha").close()
    cache.close()
    (root / "cache" / "fetching").mkdir()
    return root


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_everything_of_a_workspace_goes_with_its_data(workspace: Workspace, folder: Path) -> None:
    """With the data nothing is left, not even the folder."""
    workspace.delete(delete_dependent_resources=True)

    assert not folder.exists()


def test_results_that_are_in_no_store_stay(workspace: Workspace, folder: Path) -> None:
    """Without the data, runs that ended well and the cache go; what a run could not send stays."""
    workspace.delete()

    left = [name for name in _names(folder) if not name.startswith("blobstore")]
    assert left == [
        "runs/left/journal",
        "runs/left/lock",
        "runs/left/order.json",
        "runs/left/report.json",
        "runs/left/runner.lock",
        "runs/left/work/result",
    ]


def test_a_plan_is_what_comes_to_pass(workspace: Workspace, folder: Path) -> None:
    """The plan touches nothing, names what goes and what stays, and both come true."""
    before = _names(folder)
    removal = workspace.plan_deletion()
    untouched = _names(folder) == before

    workspace.delete()

    assert untouched
    assert folder / "runs" / "good" in removal.goes
    assert folder / "cache" / "fetching" in removal.goes
    assert not (folder / "cache").exists()
    assert removal.stays == (folder / "runs" / "left",)
    assert not any(path.exists() for path in removal.goes)
    assert all(path.exists() for path in removal.stays)


def test_what_is_not_ours_stays(workspace: Workspace, folder: Path) -> None:
    """A project's own `runs` and `cache` are none of a workspace's."""
    (folder / "runs" / "tensorboard").mkdir()
    (folder / "runs" / "tensorboard" / "events").touch()
    (folder / "cache" / "mine").touch()
    (folder / "cache" / "v2").mkdir()
    (folder / "cache" / "v2" / "weights").touch()

    workspace.delete(delete_dependent_resources=True)

    assert _names(folder) == ["cache/mine", "cache/v2/weights", "runs/tensorboard/events"]


@pytest.mark.parametrize("lock", ["lock", "runner.lock"])
def test_a_workspace_with_a_run_at_work_is_refused(
    workspace: Workspace, folder: Path, lock: str
) -> None:
    """While an agent or a runner works nothing is forgotten, and the sentence names the run."""
    before = _names(folder)
    with (folder / "runs" / "good" / lock).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DefinitionRejected, match='its runs are at work: "good"'):
            workspace.delete(delete_dependent_resources=True)

    assert _names(folder) == before
    assert workspace.record().name == "demo"


def test_runs_of_a_registry_that_others_use_stay(workspace: Workspace, folder: Path) -> None:
    """Where two workspaces share a file, nobody knows whose runs lie beside it."""
    from datastores.names import WorkspaceName
    from datastores.registry.records import WorkspaceRecord

    other = WorkspaceRecord(WorkspaceName("other"), "local", "local")
    workspace.registry.add_workspace(other)
    before = _names(folder)

    workspace.delete(delete_dependent_resources=True)

    assert [name for name in before if name not in _names(folder)] == []


def test_a_database_takes_nothing_of_a_namesake(
    workspace: Workspace, folder: Path, postgres: PostgresServer
) -> None:
    """Deleting a workspace in a database leaves the embedded one of its name alone."""
    url = postgres.url(postgres.database(), password=True)
    made = Workspace.create("demo", registry=url, show_output=False, vault_key="env:SHARED_KEY")

    made.delete(delete_dependent_resources=True)

    assert workspace.record().name == "demo"
    assert (folder / "runs" / "good" / "order.json").exists()


def test_an_address_keeps_its_password_to_itself(
    workspace: Workspace, postgres: PostgresServer
) -> None:
    """The address opens the registry from elsewhere, and printing it shows no password."""
    url = postgres.url(postgres.database(), password=True)
    made = Workspace("local", "local", "demo", registry=url)

    assert made.registry_address.reveal() == url
    assert url not in f"{made.registry_address} {made.registry_address!r} {made.registry_place}"
    assert workspace.registry_address.reveal() == workspace.registry_place


def test_nothing_is_removed_below_a_mount(workspace: Workspace, folder: Path) -> None:
    """A mount in a run's folder, dead agent or not, is named and keeps everything in place."""
    at = folder / "runs" / "good" / "work" / "in put"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(at)], check=True)
    try:
        (at / "object").touch()
        with pytest.raises(DefinitionRejected, match="something is mounted") as refused:
            workspace.delete(delete_dependent_resources=True)
        kept = (at / "object").exists()
    finally:
        subprocess.run(["umount", str(at)], check=True)

    assert str(at) in str(refused.value)
    assert (kept, workspace.record().name) == (True, "demo")
