"""The process that outlives a mount's server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mount.fuse import device, mounts
from mount.fuse.connection import Connection
from mount.fuse.options import MountOptions
from mount.fuse.survivor import Survivor
from tests.mount.host.bench import until


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """A mount whose descriptor somebody keeps, so that the kernel does not end it by itself."""
    place = str(tmp_path.resolve())
    fd = device.open_mount(place, MountOptions())
    made = Connection.of(place)
    assert made
    yield made
    made.unmount(place)
    made.close()
    os.close(fd)


def test_a_survivor_cuts_the_connection_when_the_others_are_gone(
    connection: Connection, tmp_path: Path
) -> None:
    """Callers of a connection that a held process keeps open get an error at its end."""
    survivor = Survivor.fork(connection)
    assert survivor
    survivor.end()

    with pytest.raises(OSError, match=r"not connected|aborted"):
        os.statvfs(tmp_path)


def test_a_survivor_waits_for_everybody(connection: Connection) -> None:
    """It acts when the last process that inherited its line has ended, not the first."""
    survivor = Survivor.fork(connection)
    assert survivor
    ours, theirs = os.pipe()
    worker = os.fork()
    if not worker:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    os.close(survivor._life)
    try:
        assert not survivor._child._ends_within(0.3)  # an event that must not come
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        os.close(ours)
        os.close(theirs)
    assert survivor._child._ends_within(20)
    assert os.waitpid(survivor._child.pid, 0)[1] == 0


def test_a_survivor_has_nothing_else_open_and_is_in_no_group(connection: Connection) -> None:
    """It keeps neither the kernel's device nor a lock, and what ends its parent's group spares it."""
    survivor = Survivor.fork(connection)
    assert survivor
    pid = survivor._child.pid

    def files() -> set[str]:
        found: set[str] = set()
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it is just being closed
                found.add(str(path.readlink()))
        return {path for path in found if path.startswith("/")}

    try:
        until(lambda: os.getpgid(pid) == pid and "/dev/fuse" not in files())
        kept = files()
    finally:
        survivor.end()
    assert kept - {str(Path("/proc/self/fd/2").readlink())} == {
        str(mounts.CONNECTIONS / str(connection.number) / "abort")
    }


def test_there_is_no_survivor_of_what_we_may_not_cut() -> None:
    """Where the host has no switch for us, nobody is forked."""
    assert Survivor.fork(Connection(1, None)) is None
