"""The two processes of a mount, and what libfuse is told."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mount.errors import MountRefused
from mount.fs.contract import Attributes, Child, Kind
from mount.fuse.device import repair
from mount.fuse.mounts import find_mount
from mount.fuse.options import MountOptions
from mount.libfuse.mounted import mount, mount_words, why_not
from mount.libfuse.shown import dots, line, status
from tests.mount.adapters.mounting import Adapter, MakeMount, cleared, mounts_of, names, rescued
from tests.mount.memory_filesystem import Behaviour, MemoryFileSystem

SECONDS = 20


@pytest.fixture(name="make_mount")
def fixture_make_mount(tmp_path: Path) -> Iterator[MakeMount]:
    """Mounts file systems in memory."""
    with mounts_of(Adapter("libfuse", mount, why_not), tmp_path) as make:
        yield make


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path) -> Iterator[Path]:
    """A folder for a mount that dies."""
    with cleared(tmp_path / "place") as place:
        yield place


def test_one_process_holds_several_mounts(make_mount: MakeMount) -> None:
    """Two mounts of one process are served side by side, each with its own files."""
    one, other = make_mount(), make_mount()
    one.filesystem.add("f", b"one")
    other.filesystem.add("f", b"other")

    assert [(each.path / "f").read_bytes() for each in (one, other)] == [b"one", b"other"]


def test_complete_local_files_are_read_without_asking(
    make_mount: MakeMount, tmp_path: Path
) -> None:
    """A file with a local copy is read by libfuse's process itself."""
    (tmp_path / "cache").mkdir()
    memory = make_mount(Behaviour(backing=tmp_path / "cache"))
    data = os.urandom(3_000_000)
    memory.filesystem.add("f", data)

    assert (memory.path / "f").read_bytes() == data

    figures = memory.mounted.figures
    assert (figures.backed_opens, memory.filesystem.calls["read"]) == (1, 0)


def test_a_removed_open_file_has_no_name_and_all_its_abilities(make_mount: MakeMount) -> None:
    """After its removal a file is read, written, truncated and shown through its descriptor."""
    memory = make_mount()
    memory.filesystem.add("folder/f", b"0123456789")

    with (memory.path / "folder" / "f").open("r+b", buffering=0) as file:
        (memory.path / "folder" / "f").unlink()
        (memory.path / "folder").rename(memory.path / "moved")
        file.truncate(4)
        file.seek(0, os.SEEK_END)
        file.write(b"more")

        assert os.pread(file.fileno(), 99, 0) == b"0123more"
        assert os.fstat(file.fileno()).st_size == 8
        # libfuse would lose its path; network file systems refuse in the same way.
        with pytest.raises(OSError, match="Directory not empty"):
            (memory.path / "moved").rmdir()
    # The kernel gives a closed file back when it gets round to it.
    deadline = time.monotonic() + SECONDS
    while memory.filesystem.calls["rmdir"] == 0 and time.monotonic() < deadline:
        with suppress(OSError):
            (memory.path / "moved").rmdir()
    assert names(memory.path) == []
    assert (memory.filesystem.calls["unlink"], memory.filesystem.calls["rename"]) == (1, 1)


def test_a_killed_libfuse_is_a_dead_mount(place: Path) -> None:
    """When libfuse's process is killed the file system is stopped, and `repair` clears the place."""
    filesystem = MemoryFileSystem()
    filesystem.add("f", b"x")
    mounted = mount(filesystem, str(place), options=MountOptions())
    with rescued(mounted.connection):
        mounted.start()
        held = os.open(place / "f", os.O_RDONLY)
        try:
            os.kill(mounted.front.pid, signal.SIGKILL)

            assert mounted.wait(SECONDS)
            with pytest.raises(OSError) as seen:
                os.statvfs(place)
        finally:
            with suppress(OSError):  # as every call in a dead mount
                os.close(held)

    assert seen.value.errno == errno.ENOTCONN
    assert (filesystem.handles, filesystem.broken_rules) == ({}, [])
    assert repair(str(place))


def test_a_mount_that_libfuse_refuses_has_its_reason(tmp_path: Path) -> None:
    """What libfuse complained of is in the error, and the file system is stopped."""
    filesystem = MemoryFileSystem()
    # No mount can carry a source as long as this.
    options = MountOptions(source="x" * 10_000)

    with pytest.raises(MountRefused) as refused:
        mount(filesystem, str(tmp_path), options=options)

    assert "fuse" in refused.value.reason
    assert filesystem.stopped.is_set()
    assert find_mount(str(tmp_path)) is None


def test_libfuse_leaves_no_process_behind(make_mount: MakeMount) -> None:
    """After an unmount libfuse's process has ended by itself."""
    memory = make_mount()

    memory.mounted.unmount()

    assert memory.mounted.wait(SECONDS)
    assert memory.mounted.front.returncode == 0


def test_the_mount_is_recognised_as_ours(make_mount: MakeMount) -> None:
    """The kernel lists it under the type and source of the direct adapter's mounts."""
    memory = make_mount(options=MountOptions(source="images,v2"))

    line = find_mount(str(memory.path))

    assert line is not None
    assert (line.is_ours, line.source) == (True, "images,v2")


def test_a_program_cannot_see_libfuses_names(make_mount: MakeMount) -> None:
    """A name of the form that libfuse hides files under does not exist, whatever the store has."""
    memory = make_mount()
    memory.filesystem.add(".fuse_hidden0000000200000001", b"a user's")

    shown = subprocess.run(
        ["cat", memory.path / ".fuse_hidden0000000200000001"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert "No such file" in shown.stderr
    assert memory.filesystem.calls["lookup"] == 0


def test_lifetimes_are_a_second_at_most() -> None:
    """Longer lifetimes are cut to a second, shorter ones are kept; flags follow the options."""
    options = MountOptions(source="a,b", read_only=True, allow_other=True, request_bytes=1 << 20)

    words = mount_words(options, (60.0, 0.25))

    assert set(words) >= {
        *(r"fsname=a\,b", "ro", "allow_other", "entry_timeout=1.0", "attr_timeout=0.25"),
        *("max_read=131072", "max_write=131072", "negative_timeout=0"),
    }
    assert {"ro", "allow_other"}.isdisjoint(mount_words(MountOptions(), (60.0, 60.0)))


def test_times_are_cut_to_what_can_be_passed() -> None:
    """Whole seconds, none before 1970; the umask's bits are not shown."""
    early = Attributes(7, Kind.FOLDER, 0, 0o777, 1, 2, -1, 1_999_999_999, links=2)

    assert status(early, 0o027) == (7, 0o40750, 2, 1, 2, 0, 0, 1)


def test_a_listing_begins_with_the_dots() -> None:
    """Cookies count on from the two names that every folder has."""
    listed = [*dots(7, 0), line(Child(b"f", 0, Kind.LINK, 1))]

    assert [(name, cookie) for name, _, _, cookie in listed] == [(b".", 1), (b"..", 2), (b"f", 3)]
    assert dots(7, 1) == listed[1:2]
    assert dots(7, 2) == []
