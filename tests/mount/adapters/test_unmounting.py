"""The end of a mount: wanted, forced, by accident; and what is found afterwards."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mount.errors import MountError, MountRefused
from mount.fuse.device import repair, unmount
from mount.fuse.mounts import find_dead_mounts, find_mount
from mount.fuse.options import MountOptions
from tests.mount.adapters.mounting import ROOT, Adapter, Mount, mounted_at, names
from tests.mount.memory_filesystem import MemoryFileSystem

SECONDS = 20


def test_unmounting_stops_the_file_system(memory: Mount) -> None:
    """After an unmount the folder is plain again and the file system was told."""
    memory.mounted.unmount()

    assert memory.mounted.wait(SECONDS)
    assert memory.filesystem.stopped.is_set()
    assert find_mount(str(memory.path)) is None
    assert names(memory.path) == []


def test_a_mount_in_use_is_not_taken_away(memory: Mount) -> None:
    """With a file open an unmount is refused with the way out, and the file can still be read."""
    memory.filesystem.add("f", b"x")

    with (memory.path / "f").open("rb") as file:
        with pytest.raises(MountError, match="is in use; close its files, or unmount it lazily"):
            memory.mounted.unmount()

        assert file.read() == b"x"


def test_a_lazy_unmount_waits_for_the_last_file(memory: Mount) -> None:
    """Unmounted lazily, the folder is plain at once; an open file works until it is closed."""
    memory.filesystem.add("f", b"x" * 200_000)

    with (memory.path / "f").open("rb", buffering=0) as file:
        memory.mounted.unmount(lazy=True)

        assert names(memory.path) == []
        assert file.read() == b"x" * 200_000
        assert not memory.filesystem.stopped.is_set()
    assert memory.mounted.wait(SECONDS)
    assert memory.filesystem.stopped.is_set()


def test_unmounting_twice_is_fine(memory: Mount) -> None:
    """A second unmount has nothing to do and says nothing."""
    memory.mounted.unmount()
    assert memory.mounted.wait(SECONDS)

    unmount(str(memory.path))


def test_a_mount_of_a_killed_server_is_found_and_repaired(adapter: Adapter, place: Path) -> None:
    """After kill -9 each access fails with ENOTCONN; repair clears the place for a new mount."""
    with _served(adapter, place) as server:
        assert (place / "f").read_bytes() == b"served"
        assert str(place) not in find_dead_mounts()
        server.kill()
        server.wait(SECONDS)

    with pytest.raises(OSError) as seen:
        names(place)
    # A call that was under way is told that it was aborted.
    assert seen.value.errno in {errno.ENOTCONN, errno.ECONNABORTED}
    assert str(place) in find_dead_mounts()

    assert repair(str(place))

    assert (str(place) in find_dead_mounts(), names(place)) == (False, [])
    assert not repair(str(place))
    with _served(adapter, place) as server:
        assert (place / "f").read_bytes() == b"served"
        unmount(str(place))
        assert server.wait(SECONDS) == 0


def test_a_living_mount_is_not_repaired(memory: Mount) -> None:
    """Repair leaves a mount alone whose server answers."""
    assert not repair(str(memory.path))

    assert find_mount(str(memory.path)) is not None


def test_an_aborted_mount_fails_at_once(memory: Mount) -> None:
    """After an abort every access fails instead of waiting."""
    assert memory.mounted.abort()

    assert memory.mounted.wait(SECONDS)
    with pytest.raises(OSError) as seen:
        os.statvfs(memory.path)
    assert seen.value.errno == errno.ENOTCONN
    assert repair(str(memory.path))


def test_a_mount_through_a_link_is_found(adapter: Adapter, tmp_path: Path) -> None:
    """A mount at a place that was named by a symbolic link is unmounted by the same name."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    with mounted_at(adapter, MemoryFileSystem(), tmp_path / "link") as mounted:
        assert mounted.mountpoint == str(tmp_path / "real")
        mounted.unmount()
        assert mounted.wait(SECONDS)

    assert find_mount(str(tmp_path / "real")) is None


def test_a_missing_folder_is_a_reason(adapter: Adapter, tmp_path: Path) -> None:
    """A place that does not exist is refused with the next step."""
    reason = f'cannot mount at "{tmp_path / "no"}": it is no folder; create it first'

    with pytest.raises(MountRefused) as refused:
        adapter.mount(MemoryFileSystem(), str(tmp_path / "no"), options=MountOptions())

    assert str(refused.value) == reason
    assert adapter.why_not(str(tmp_path / "no")) == (
        f'"{tmp_path / "no"}" is no folder; create it first'
    )


class _served:  # noqa: N801 - reads as a state
    """A server of its own process, mounted at a place; killed at the end."""

    def __init__(self, adapter: Adapter, place: Path) -> None:
        self.module, self.place = adapter.mount.__module__, place

    def __enter__(self) -> subprocess.Popen[str]:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.mount.adapters.serving", self.module, str(self.place)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == "ready\n"
        assert stat.S_ISDIR(self.place.stat().st_mode)
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.kill()
        self.server.wait(SECONDS)
        assert self.server.stdout is not None
        self.server.stdout.close()
