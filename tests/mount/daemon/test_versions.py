"""What a job hears of the versions that were opened through a mount that it may share."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mount.agent.mounting import MountWish
from mount.agent.opened_notes import is_shared
from mount.daemon.client import DaemonMount, DaemonMounter
from mount.daemon.joined import JoinedJobs
from mount.daemon.orders import CacheWish
from mount.errors import MountError
from mount.fs.version_pages import lines
from mount.fuse import device
from mount.host.folder import HostFolder
from mount.host.start import find_host
from tests.mount.daemon.node import Node
from tests.mount.host.bench import kill_host, kill_worker, until


@pytest.fixture(autouse=True)
def _environment(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this process looks for is the test's own."""
    for name in ("XDG_RUNTIME_DIR", "DATASTORES_AGENT_STATE", "DATASTORES_SPOOL"):
        monkeypatch.setenv(name, node.environment[name])
    for name in "abc":
        (node.store / name).write_text(name)


def _mount(node: Node, name: str, *, is_writable: bool = False) -> DaemonMount:
    """The mount of a job that is this process."""
    definition, versions = node.order(name).definition, node.root / "versions" / name
    wish = MountWish(name, definition, "", node.path(name), is_writable, versions=versions)
    return DaemonMounter(node.daemon, CacheWish(node.root / "cache", 1 << 30)).mount(wish)


def _read(node: Node, name: str, *files: str) -> None:
    for one in files:
        assert (node.path(name) / one).read_text() == one


def _kept(node: Node, made: DaemonMount) -> tuple[list[Any], bool]:
    """The files that the agent would list, and whether others opened some of them."""
    made.keep_versions(30)
    assert made.versions is not None
    noted = {str(json.loads(line)[0]) for line in lines(made.versions)}
    return sorted(noted), is_shared(made.versions)


def _can_read(node: Node, name: str, file: str) -> bool:
    try:
        return (node.path(name) / file).read_text() == file
    except OSError:
        # The dead mount is still there.
        return False


def _cat(node: Node, name: str, file: str) -> None:
    subprocess.run(
        ["/bin/cat", str(node.path(name) / file)], check=True, capture_output=True, timeout=60
    )


def test_a_job_alone_hears_of_what_it_opened(node: Node) -> None:
    """A job that had its mount alone gets what it opened, and that nobody else did."""
    node.start()
    made = _mount(node, "one")
    _read(node, "one", "a", "c")

    assert _kept(node, made) == (["a", "c"], False)
    made.release(20)


def test_jobs_hear_of_what_was_opened_while_they_were_there(node: Node) -> None:
    """Each job gets what anybody opened since it joined, and is told that others were there."""
    node.start()
    first = _mount(node, "one")
    _read(node, "one", "a", "b")
    other = node.job(node.order("two"))
    _cat(node, "two", "b")

    assert _kept(node, first) == (["a", "b"], True)
    third = _mount(node, "three")
    _read(node, "one", "c")
    assert _kept(node, third) == (["c"], True)
    other.kill()
    other.wait()
    for made in (first, third):
        made.release(20)


def test_who_comes_after_the_others_have_gone_is_alone(node: Node) -> None:
    """What a job opened that has left is not told to the next one, on the same path either."""
    node.start()
    keeper = _mount(node, "keeper")
    first = _mount(node, "one")
    _read(node, "one", "a")
    first.release(20)
    second = _mount(node, "one")
    _read(node, "one", "b")

    # The keeper is this process, too: two inputs of one job, which no other job uses.
    assert _kept(node, second) == (["b"], False)
    assert _kept(node, keeper) == (["a", "b"], False)
    for made in (second, keeper):
        made.release(20)


def test_a_mount_by_hand_is_somebody_else(node: Node) -> None:
    """Where a mount is also there for people, what they opened may be among the rest."""
    node.start()
    node.daemon.attach(node.order("hand"), is_owned=False)
    made = _mount(node, "one")
    _cat(node, "hand", "c")

    assert _kept(node, made) == (["c"], True)
    made.release(20)


def test_killed_workers_and_daemons_change_nothing(node: Node) -> None:
    """After kill -9 of worker and daemon between opens, a job hears of everything it opened."""
    daemon = node.start()
    made = _mount(node, "one")
    _read(node, "one", "a")
    (share,) = {one["share"] for one in node.daemon.status()["mounts"]}
    host = find_host(node.home.host_folder(share))
    assert host is not None
    dead = kill_worker(host)
    until(lambda: host.status().worker != dead)
    _read(node, "one", "b")
    daemon.kill()
    daemon.wait()
    _read(node, "one", "c")

    assert _kept(node, made) == (["a", "b", "c"], False)
    made.release(20)


def test_a_host_that_is_gone_for_good_loses_nothing(node: Node) -> None:
    """When the whole host was killed, its successor goes on with the notes of both."""
    node.start()
    made = _mount(node, "one")
    _read(node, "one", "a")
    (share,) = {one["share"] for one in node.daemon.status()["mounts"]}
    host = find_host(node.home.host_folder(share))
    assert host is not None
    before = host.status().pid
    kill_host(host)

    def is_back() -> bool:
        found = find_host(host.folder)
        return found is not None and found.status().pid != before

    until(is_back)
    until(lambda: _can_read(node, "one", "b"))

    assert _kept(node, made) == (["a", "b"], False)
    made.release(20)


def test_a_path_that_showed_a_new_host_too_early_is_not_known(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where paths are links, a host that was replaced may have missed something, and that is said."""
    node.start()
    made = _mount(node, "one")
    (share,) = {one["share"] for one in node.daemon.status()["mounts"]}
    monkeypatch.setattr(device, "may_mount", lambda: False)

    JoinedJobs(node.home).join(share, str(node.path("one")), "1.1", others=False)

    with pytest.raises(MountError, match="its host was replaced"):
        made.keep_versions(30)
    made.release(20)


def test_nothing_is_left_of_a_released_mount(node: Node) -> None:
    """With the last path the notes are gone, and the next mount of the same begins anew."""
    node.start()
    made = _mount(node, "one")
    _read(node, "one", "a")
    (share,) = {one["share"] for one in node.daemon.status()["mounts"]}
    folder = HostFolder(node.home.host_folder(share)).path
    made.release(20)

    assert not {"versions", "joined.json"} & {one.name for one in folder.iterdir()}
    again = _mount(node, "one")
    _read(node, "one", "b")
    assert _kept(node, again) == (["b"], False)
    again.release(20)


def test_an_output_notes_nothing(node: Node) -> None:
    """A writable mount has no list of versions, and says so instead of an empty one."""
    node.start()
    made = _mount(node, "out", is_writable=True)

    with pytest.raises(MountError, match="is not noted"):
        made.keep_versions(30)

    assert made.versions is not None
    assert not made.versions.exists()
    made.release(20)


def test_what_does_not_come_in_time_is_no_part_of_a_list(node: Node) -> None:
    """An answer that takes too long leaves no folder that could be taken for all of it."""
    node.start()
    made = _mount(node, "one")
    _read(node, "one", "a")

    with pytest.raises(MountError, match="did not come within 0 s"):
        made.keep_versions(0.0)

    assert made.versions is not None
    assert not Path(made.versions).exists()
    made.release(20)
