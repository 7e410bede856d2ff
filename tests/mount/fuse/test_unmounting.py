"""The end of a mount: wanted, forced, by accident; and what is found afterwards."""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mount.errors import MountError
from mount.fuse.connection import Connection
from mount.fuse.device import HELPERS, open_mount, unmount, why_not
from mount.fuse.mounted import mount
from mount.fuse.mounts import MountLine, find_mount, parse_mountinfo
from mount.fuse.options import MountOptions
from tests.mount.adapters.mounting import ROOT, rescued
from tests.mount.memory_filesystem import MemoryFileSystem

SECONDS = 20
# Everything of root but the right to mount.
UNPRIVILEGED = ("setpriv", "--bounding-set", "-sys_admin")


def test_a_descriptor_that_somebody_else_mounted_is_served(tmp_path: Path) -> None:
    """`/dev/fd/N` as the place serves a mount made elsewhere, and leaves unmounting to its maker."""
    filesystem = MemoryFileSystem()
    filesystem.add("f", b"inherited")
    fd = open_mount(str(tmp_path), MountOptions())
    with rescued(Connection.of(str(tmp_path))):
        mounted = mount(filesystem, f"/dev/fd/{fd}", options=MountOptions())
        mounted.start()
        try:
            assert (tmp_path / "f").read_bytes() == b"inherited"
            with pytest.raises(MountError, match="unmount it there"):
                mounted.unmount()
        finally:
            unmount(str(tmp_path), lazy=True)
        assert mounted.wait(SECONDS)


def test_there_is_no_reason_not_to_mount_here(tmp_path: Path) -> None:
    """On a host that can mount, the question leaves nothing behind."""
    assert why_not(str(tmp_path)) is None
    assert find_mount(str(tmp_path)) is None


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


@pytest.mark.parametrize("name", HELPERS)
def test_the_helper_mounts_for_an_ordinary_user(tmp_path: Path, name: str) -> None:
    """A user without privilege gets the descriptor from the helper, over the socket it names."""
    # The real helper is setuid root; this one speaks its protocol over the same socket, with the
    # privileges of a server that stands beside the user.
    channel = tmp_path / "helper.socket"
    helper = tmp_path / name
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
