"""What an ordinary user's mount is like; `test_ordinary_user.py` runs this as one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mount.errors import MountRefused
from mount.fuse import device
from mount.fuse.mounts import find_mount
from tests.mount.host.bench import Bench, is_mounted, kill_worker, until


def test_it_is_the_helpers_mount_without_passthrough(bench: Bench) -> None:
    """The setuid helper mounts for a user without rights, and bytes go through the worker."""
    (bench.store / "a").write_bytes(b"alpha")
    host = bench.start()
    assert [(bench.at / "a").read_bytes() for _ in range(3)] == [b"alpha"] * 3

    assert (os.getuid() != 0, device.may_mount()) == (True, False)
    assert f"user_id={os.getuid()}," in _options(bench.at)
    status = host.status()
    assert (status.passthrough, status.passthrough_share) == (False, 0.0)
    assert (status.counters["opens"], status.counters["backed_opens"]) == (3, 0)
    host.release(20)
    assert (is_mounted(bench.at), list(bench.at.iterdir())) == (False, [])


def test_it_heals_under_open_files(bench: Bench) -> None:
    """A reader and a writer go on with their handles after kill -9, without any rights."""
    (bench.store / "a").write_bytes(b"alpha and omega")
    host = bench.start()
    with (
        (bench.at / "a").open("rb", buffering=0) as reader,
        (bench.at / "b").open("wb", buffering=0) as writer,
    ):
        writer.write(b"before, ")
        first = reader.read(6)
        dead = kill_worker(host)
        until(lambda: host.status().worker != dead)
        writer.write(b"after")

        assert first + reader.read() == b"alpha and omega"
    assert (bench.store / "b").read_bytes() == b"before, after"
    assert host.status().restarts == 1
    host.release(20)


def test_a_folder_of_somebody_else_is_refused(bench: Bench) -> None:
    """Where the helper refuses, the start says why, and nothing is left."""
    with pytest.raises(MountRefused, match=r'"/proc/1".*run as root, or download instead'):
        bench.start(at=Path("/proc/1"))
    assert find_mount("/proc/1") is None


def _options(place: Path) -> str:
    """The kernel's own line about a mount."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    (line,) = [line for line in lines if line.split()[4] == str(place)]
    return line
