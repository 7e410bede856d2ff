"""A supervised mount: its servers may be killed, and callers notice a pause."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mount.fs.contract import Access
from mount.fuse.connection import Connection
from mount.fuse.device import unmount
from mount.fuse.journal import MemoryJournal, OpenHandle
from mount.fuse.mounts import find_mount
from mount.fuse.negotiation import WANTED, Agreement
from tests.mount.adapters.mounting import ROOT, names, rescued

SECONDS = 20


@pytest.fixture(name="state")
def fixture_state(tmp_path: Path) -> Path:
    """What outlives the servers."""
    state = tmp_path / "state"
    state.mkdir()
    return state


@pytest.mark.parametrize("fatal", ["read", "open", "lookup", "getattr", "release"])
def test_a_server_killed_in_a_request_is_replaced(place: Path, state: Path, fatal: str) -> None:
    """A reader whose server is killed in the middle of any of its requests gets its bytes."""
    with _supervised(place, state, fatal):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(_read, place / "f").result(SECONDS) == b"the bytes of f"
        if fatal == "release":
            assert _read(place / "g") == b"the bytes of g"
        _until(lambda: len(_lives(state)) == 2)

    assert ((state / "end").read_text(), json.loads((state / "rules1").read_text())) == ("1", [])


def test_open_files_survive_a_kill(place: Path, state: Path) -> None:
    """A file and a folder opened before a kill are read after it."""
    with _supervised(place, state, "none"):
        with (place / "f").open("rb", buffering=0) as file, os.scandir(place) as lines:
            first = next(lines).name
            _kill_server(state)

            assert file.read() == b"the bytes of f"
            assert [first, *sorted(line.name for line in lines)] == ["f", "g", "h"]
        assert _read(place / "h") == b"the bytes of h"

    assert json.loads((state / "rules1").read_text()) == []


def test_creation_happens_once_though_asked_twice(place: Path, state: Path) -> None:
    """A folder that was made by a server that then died is made, not refused as existing."""
    with _supervised(place, state, "mkdir"):
        (place / "new").mkdir()

        assert sorted(names(place)) == ["f", "g", "h", "new"]


def test_backed_files_stay_backed(place: Path, state: Path) -> None:
    """A handle that the kernel reads by itself survives a kill, and new opens share its mode."""
    (state / "cache").mkdir()
    with _supervised(place, state, "read"):
        with (place / "f").open("rb", buffering=0) as file:
            _kill_server(state)

            assert file.read() == b"the bytes of f"
            assert _read(place / "f") == b"the bytes of f"
            with (place / "f").open("r+b") as writer:
                writer.write(b"THE")
            assert _read(place / "g") == b"the bytes of g"
        assert _read(place / "f") == b"THE bytes of f"
        # Nothing was read through a server: "read" would have killed the first, and shown twice.
        assert len(_lives(state)) == 2

    assert json.loads((state / "rules1").read_text()) == []


def test_a_server_that_keeps_dying_is_given_up(place: Path, state: Path) -> None:
    """After five deaths callers get an error instead of a sixth server, and the place is clear."""
    with _supervised(place, state, "all") as supervisor:
        with pytest.raises(OSError), ThreadPoolExecutor(1) as pool:
            pool.submit(_read, place / "f").result(SECONDS)

        assert supervisor.wait(SECONDS) == 1
    assert (len(_lives(state)), find_mount(str(place))) == (5, None)


def test_a_signal_ends_supervisor_and_server(place: Path, state: Path) -> None:
    """SIGTERM unmounts, lets the server finish, and leaves a plain folder."""
    with _supervised(place, state, "none") as supervisor:
        assert _read(place / "f") == b"the bytes of f"
        supervisor.terminate()

        assert supervisor.wait(SECONDS) == 0
    assert (find_mount(str(place)), (state / "end").read_text()) == (None, "0")


def test_notes_are_read_as_they_were_written() -> None:
    """Agreement, handles and moves come back as noted; what was closed does not; slots are reused."""
    fd = os.memfd_create("notes")
    try:
        journal = MemoryJournal(fd)
        agreement = Agreement(45, WANTED, 1 << 17, 1 << 20)
        files = [OpenHandle(n, n + 7, Access.READ, False, n * 2) for n in range(1, 101)]
        backed = OpenHandle(500, 9, Access.READ, False, 3, (64, 123456789), 17)
        writer = OpenHandle(501, 9 | 1 << 56, Access.READ | Access.WRITE, False, 5)
        folder = OpenHandle(1, 1, Access.READ, True, 7)

        journal.agreed(agreement)
        for handle in files:
            journal.opened(handle)
        size = os.fstat(fd).st_size
        for handle in files:
            journal.closed(handle.handle, is_folder=False)
        for handle in (backed, writer, folder):
            journal.opened(handle)
        journal.moved(9, 1)
        journal.moved(9, 2)
        notes = MemoryJournal(fd).load()

        assert (notes.agreement, notes.generations) == (agreement, {9: 2})
        assert sorted(notes.handles, key=lambda h: h.unique) == [backed, writer, folder]
        assert os.fstat(fd).st_size == size
    finally:
        os.close(fd)


@contextmanager
def _supervised(place: Path, state: Path, fatal: str) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor of its own process; unmounted and awaited at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.mount.fuse.healing", place, state, fatal],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    ) as supervisor:
        try:
            _until(lambda: _lives(state) != [] and find_mount(str(place)) is not None)
            with rescued(Connection.of(str(place))):
                yield supervisor
            unmount(str(place))
            supervisor.wait(SECONDS)
        finally:
            supervisor.terminate()
            try:
                supervisor.wait(SECONDS)
            except subprocess.TimeoutExpired:
                supervisor.kill()


def _lives(state: Path) -> list[int]:
    path = state / "lives"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def _kill_server(state: Path) -> None:
    before = _lives(state)
    os.kill(before[-1], signal.SIGKILL)
    _until(lambda: len(_lives(state)) > len(before))


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert reached()
