"""Mounting by hand: the daemon comes by itself, and everything can be looked at and undone."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from mount.daemon.memory import load
from tests.mount.cli.conftest import Call
from tests.mount.daemon.node import Node


def test_a_folder_is_mounted_looked_at_and_unmounted(call: Call, node: Node) -> None:
    """The first session: mount, read, status, unmount, and the report says what was read."""
    (node.store / "a.txt").write_text("alpha")
    at = node.path("data")

    mounted = call("mount", f"file://{node.store}", at, "--read-only", "--cache-size", "1GiB")
    text = (at / "a.txt").read_text()
    status = call("status", at)
    left = call("unmount", at)

    assert (mounted.code, mounted.err) == (0, "")
    assert mounted.out == f"{node.store} is at {at} (read-only, cache of 1.0 GiB)\n"
    assert text == "alpha"
    assert f"{at}  {node.store}  read-only, serving" in status.out
    assert left.out.splitlines()[0] == f"{at} is unmounted"
    assert "fetched 5 B" in left.out
    assert node.mounts() == []


def test_status_for_programs(call: Call, node: Node) -> None:
    """--json has the daemon, and for each mount its host and its report."""
    (node.store / "a.txt").write_text("alpha")
    at = node.path("data")
    call("mount", f"file://{node.store}", at, "--read-only")
    (at / "a.txt").read_text()

    found = call("status", "--json").json

    assert found["daemon"]["is_healthy"] is True
    (one,) = found["mounts"]
    assert (one["at"], one["phase"], one["place"]) == ([str(at)], "serving", "")
    assert one["report"]["bytes_fetched"] == 5
    assert one["host"]["restarts"] == 0


def test_status_of_nothing(call: Call) -> None:
    """Without a daemon nothing is mounted, and that is no error."""
    assert call("status").out.startswith("nothing is mounted")
    assert call("status", "--json").json == {"daemon": None, "mounts": []}


def test_what_is_written_is_stored(call: Call, node: Node) -> None:
    """A writable mount stores a file when it is closed, with the permissions asked for."""
    at = node.path("out")
    call("mount", f"file://{node.store}", at, "--umask", "077")

    (at / "model.bin").write_bytes(b"weights")

    assert (node.store / "model.bin").read_bytes() == b"weights"
    assert (at / "model.bin").stat().st_mode & 0o777 == 0o600
    assert call("unmount", at).code == 0


def test_unmounting_with_open_files(call: Call, node: Node) -> None:
    """The path is free at once; with --force nobody is waited for."""
    (node.store / "a.txt").write_text("alpha")
    at = node.path("data")
    call("mount", f"file://{node.store}", at, "--read-only")

    with (at / "a.txt").open() as file:
        left = call("unmount", at, "--force")
        assert file.fileno() > 0

    assert (left.code, node.mounts()) == (0, [])


def test_a_folder_with_files_is_not_hidden(call: Call, node: Node) -> None:
    """Mounting over files is refused, and they stay visible."""
    at = node.path("data")
    at.mkdir(parents=True)
    (at / "mine").write_text("mine")

    refused = call("mount", f"file://{node.store}", at)

    assert refused.code == 25
    assert "choose an empty folder" in refused.err
    assert (at / "mine").read_text() == "mine"


def test_a_mount_survives_its_daemon(call: Call, node: Node) -> None:
    """After kill -9 of the daemon the next command starts another, which knows the mount."""
    at = node.path("data")
    call("mount", f"file://{node.store}", at, "--read-only")
    os.kill(node.daemon.health()["pid"], signal.SIGKILL)
    node.until(lambda: node.home.is_taken, False)

    found = call("status", "--json").json

    assert [one["at"] for one in found["mounts"]] == [[str(at)]]
    assert call("unmount", at).code == 0


def test_foreground_ends_with_its_signal(call: Call, node: Node) -> None:
    """--foreground unmounts on SIGINT and prints the report."""
    at = node.path("data")
    process = node.spawn("mount", f"file://{node.store}", str(at), "--foreground", "--read-only")
    assert process.stdout is not None
    assert node.line(process.stdout.fileno(), "is at")

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert f"{at} is unmounted" in out
    assert node.mounts() == []


def test_foreground_that_is_killed_leaves_nothing(call: Call, node: Node) -> None:
    """The daemon notices that the owner of the mount has died."""
    process = node.spawn("mount", f"file://{node.store}", str(node.path("data")), "--foreground")
    assert process.stdout is not None
    assert node.line(process.stdout.fileno(), "is at")

    process.kill()

    node.until(node.mounts, [])


def test_warming_and_refreshing(call: Call, node: Node) -> None:
    """`warm` fetches what it names and says how much; `refresh` shows what came since."""
    for name in ("a.txt", "b.txt", "c.bin"):
        (node.store / name).write_text("alpha")
    at = node.path("data")
    call("mount", f"file://{node.store}", at, "--read-only")
    listing = node.root / "list"
    listing.write_text("c.bin\n")

    by_glob = call("warm", at, "*.txt")
    by_list = call("warm", at, "--list", listing, "--json").json
    before = sorted(one.name for one in at.iterdir())
    (node.store / "late.txt").write_text("late")
    (node.store / "a.txt").unlink()
    refreshed = call("refresh", at)
    after = sorted(one.name for one in at.iterdir())

    assert by_glob.out == "2 files fetched (10 B), 0 were there, 0 failed\n"
    assert (by_list["fetched"], by_list["ending"]) == (1, "done")
    assert (refreshed.code, before) == (0, ["a.txt", "b.txt", "c.bin"])
    assert after == ["b.txt", "c.bin", "late.txt"]


def test_warm_wants_to_know_what(call: Call, node: Node) -> None:
    """Without a glob or a list it is a wrong usage."""
    assert call("warm", node.path("data")).code == 2


@pytest.mark.parametrize("place", ["images:/", "ftp://x/y", "a:b", "file:///no/such/folder"])
def test_places_that_are_none(call: Call, node: Node, place: str) -> None:
    """What cannot be a place, or is not there, fails without a mount and with a next step."""
    refused = call("mount", place, node.path("data"))

    assert refused.code != 0
    assert refused.err.strip() != ""
    assert node.mounts() == []


def test_unmounting_what_is_not_mounted(call: Call, node: Node) -> None:
    """An error that names the path."""
    refused = call("unmount", node.path("data"), "--json")

    assert (refused.code, json.loads(refused.err)["error"]) == (26, "DaemonUnreachable")


def test_two_first_mounts_at_once_have_one_daemon(call: Call, node: Node) -> None:
    """Two shells that both find no daemon end up with the same one."""
    started = [
        node.spawn("mount", f"file://{node.store}", str(node.path(name)), "--json")
        for name in ("one", "two")
    ]
    answers = [json.loads(process.communicate(timeout=90)[0]) for process in started]

    assert len({one["share"] for one in answers}) == 1
    assert [len(one["at"]) for one in node.daemon.status()["mounts"]] == [2]


def test_the_daemon_that_came_by_itself_goes_by_itself(node: Node) -> None:
    """With --idle-exit it ends once nothing was mounted for so long."""
    daemon = node.start("--idle-exit", "0.1")

    assert daemon.wait(60) == 0
    assert load(node.home.memory).state.mounts == {}


def test_recovering_what_a_dead_store_left(call: Call, node: Node) -> None:
    """What could not be stored is listed, and sent when the store is back; then nothing is left."""
    at = node.path("out")
    call("mount", f"file://{node.store}", at)
    gone = node.root / "gone"
    file = (at / "model.bin").open("wb")
    file.write(b"weights")
    node.store.rename(gone)
    node.store.write_text("no folder any more")
    with pytest.raises(OSError):  # closing is storing
        file.close()
    failed = call("unmount", at, "--wait", "3")
    listed = call("recover", "--dry-run", "--json")
    node.store.unlink()
    gone.rename(node.store)

    sent = call("recover", "--json")

    assert (failed.code, listed.code, sent.code) == (23, 0, 0)
    assert [(one["key"], one["outcome"]) for one in listed.json] == [("model.bin", "waiting")]
    assert [(one["key"], one["outcome"]) for one in sent.json] == [("model.bin", "stored")]
    assert (node.store / "model.bin").read_bytes() == b"weights"
    assert call("recover").out == "nothing is left to send\n"


def test_threads_of_this_process_are_not_kept(call: Call, node: Node) -> None:
    """Mounting and unmounting leaves no thread behind."""
    before = threading.active_count()
    at = node.path("data")
    call("mount", f"file://{node.store}", at, "--read-only")
    call("unmount", at)

    assert threading.active_count() == before


def test_a_relative_folder(call: Call, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is named from where one stands."""
    monkeypatch.chdir(node.root)
    Path("here").mkdir()

    call("mount", f"file://{node.store}", "here", "--read-only")

    assert "here" in node.mounts()
    assert call("unmount", "here").code == 0
