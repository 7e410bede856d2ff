"""The end of a mount: wanted, forced, by accident; and what is found afterwards."""

from __future__ import annotations

import array
import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mount.errors import MountError, MountRefused
from mount.fuse.device import open_mount, repair, unmount, why_not
from mount.fuse.mounted import mount
from mount.fuse.mounts import MountLine, find_dead_mounts, find_mount, parse_mountinfo
from mount.fuse.options import MountOptions
from tests.mount.fuse.conftest import ROOT, Mount, names, rescued
from tests.mount.memory_filesystem import MemoryFileSystem

SECONDS = 20
# Everything of root but the right to mount.
UNPRIVILEGED = ("setpriv", "--bounding-set", "-sys_admin")


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


def test_a_mount_of_a_killed_server_is_found_and_repaired(place: Path) -> None:
    """After kill -9 each access fails with ENOTCONN; repair clears the place for a new mount."""
    with _served(place) as server:
        assert (place / "f").read_bytes() == b"served"
        assert str(place) not in find_dead_mounts()
        server.kill()
        server.wait(SECONDS)

    with pytest.raises(OSError) as seen:
        names(place)
    assert seen.value.errno == errno.ENOTCONN
    assert str(place) in find_dead_mounts()

    assert repair(str(place))

    assert (str(place) in find_dead_mounts(), names(place)) == (False, [])
    assert not repair(str(place))
    with _served(place) as server:
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


def test_a_descriptor_that_somebody_else_mounted_is_served(tmp_path: Path) -> None:
    """`/dev/fd/N` as the place serves a mount made elsewhere, and leaves unmounting to its maker."""
    filesystem = MemoryFileSystem()
    filesystem.add("f", b"inherited")
    fd = open_mount(str(tmp_path), MountOptions())
    line = find_mount(str(tmp_path))
    assert line is not None

    with rescued(line.connection):
        mounted = mount(filesystem, f"/dev/fd/{fd}", options=MountOptions())
        mounted.start()
        try:
            assert (tmp_path / "f").read_bytes() == b"inherited"
            with pytest.raises(MountError, match="unmount it there"):
                mounted.unmount()
        finally:
            unmount(str(tmp_path), lazy=True)
        assert mounted.wait(SECONDS)


def test_a_mount_through_a_link_is_found(tmp_path: Path) -> None:
    """A mount at a place that was named by a symbolic link is unmounted by the same name."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    filesystem = MemoryFileSystem()

    mounted = mount(filesystem, str(tmp_path / "link"), options=MountOptions())
    with rescued(mounted.connection), mounted:
        assert mounted.mountpoint == str(tmp_path / "real")
        mounted.unmount()
        assert mounted.wait(SECONDS)

    assert find_mount(str(tmp_path / "real")) is None


def test_there_is_no_reason_not_to_mount_here(tmp_path: Path) -> None:
    """On a host that can mount, the question leaves nothing behind."""
    assert why_not(str(tmp_path)) is None
    assert find_mount(str(tmp_path)) is None


def test_a_missing_folder_is_a_reason(tmp_path: Path) -> None:
    """A place that does not exist is refused with the next step."""
    reason = f'cannot mount at "{tmp_path / "no"}": it is no folder; create it first'

    assert why_not(str(tmp_path / "no")) == f'"{tmp_path / "no"}" is no folder; create it first'
    with pytest.raises(MountRefused) as refused:
        mount(MemoryFileSystem(), str(tmp_path / "no"), options=MountOptions())
    assert str(refused.value) == reason


def test_without_privilege_the_reason_names_the_helper(tmp_path: Path) -> None:
    """An ordinary user on a host without fusermount3 is told what to install."""
    code = (
        "import os, sys; from mount.fuse.device import why_not; "
        "os.environ['PATH'] = sys.argv[1]; print(why_not(sys.argv[1]))"
    )

    said = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=SECONDS,
        check=True,
    )

    assert said.stdout == (
        "only root may mount here and fusermount3 is not installed; install the package fuse3\n"
    )


def test_the_helper_mounts_for_an_ordinary_user(tmp_path: Path) -> None:
    """A user without privilege gets the descriptor from fusermount3, over the socket it names."""
    # The real helper is setuid root; this one speaks its protocol over the same socket, with the
    # privileges of a server that stands beside the user.
    channel = tmp_path / "helper.socket"
    helper = tmp_path / "fusermount3"
    helper.write_text(HELPER.format(python=sys.executable, channel=str(channel)))
    helper.chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()
    words: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(channel))
        listener.listen(1)
        listener.settimeout(SECONDS)
        mounting = threading.Thread(target=_mount_for, args=(listener, place, words), daemon=True)
        mounting.start()
        code = (
            "import os, sys; from mount.fuse.device import open_mount; "
            "from mount.fuse.options import MountOptions; "
            "os.environ['PATH'] = sys.argv[1]; "
            "fd = open_mount(sys.argv[2], MountOptions(source='a,b', allow_other=True)); "
            "print(os.readlink(f'/proc/self/fd/{fd}'))"
        )
        said = subprocess.run(
            [*UNPRIVILEGED, sys.executable, "-c", code, tmp_path, place],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=SECONDS,
            check=False,
        )
        mounting.join(SECONDS)
    unmount(str(place), lazy=True)

    assert (said.stdout, said.stderr) == ("/dev/fuse\n", "")
    assert words == [
        r"default_permissions,allow_other,fsname=a\,b,subtype=datastores,max_read=1048576,nosuid,nodev,noatime"
    ]


def test_mount_lines_are_understood() -> None:
    """Escaped blanks, optional fields and device numbers of a mount line are taken apart."""
    line = (
        "36 35 0:57 / /data/my\\040place rw,nosuid master:1 propagate_from:2 - "
        "fuse.datastores images\\134x rw,user_id=0"
    )

    assert parse_mountinfo(f"{line}\n") == [
        MountLine("/data/my place", (0, 57), "fuse.datastores", "images\\x")
    ]


HELPER = """#!{python}
import os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({channel!r})
    server.sendall(sys.argv[sys.argv.index("-o") + 1].encode())
    _, fds, _, _ = socket.recv_fds(server, 1, 1)
with socket.socket(fileno=int(os.environ["_FUSE_COMMFD"])) as channel:
    socket.send_fds(channel, [b"\\0"], fds)
"""


def _mount_for(listener: socket.socket, place: Path, words: list[str]) -> None:
    client, _ = listener.accept()
    with client:
        words.append(client.recv(4096).decode())
        fd = open_mount(str(place), MountOptions())
        data = array.array("i", [fd])
        client.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, data)])
        os.close(fd)


class _served:  # noqa: N801 - reads as a state
    """A server of its own process, mounted at a place; killed at the end."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __enter__(self) -> subprocess.Popen[str]:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.mount.fuse.serving", str(self.place)],
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
