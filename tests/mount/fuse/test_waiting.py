"""Requests that take their time, or fail, beside others that do not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mount.fuse.layouts import Op
from mount.fuse.options import MountOptions
from mount.fuse.watchdog import Watchdog, stuck_reader
from tests.mount.adapters.mounting import MakeMount, Mount, names
from tests.mount.memory_filesystem import Behaviour

SECONDS = 20


def test_answers_that_are_known_take_no_thread(memory: Mount) -> None:
    """A file system that never waits is served by one thread alone."""
    memory.filesystem.add("f", b"x")
    threads: set[int] = set()
    memory.filesystem.behaviour.before = lambda _: threads.add(threading.get_ident())

    (memory.path / "f").read_bytes()
    names(memory.path)

    assert len(threads) == 1


def test_answers_go_on_while_everybody_waits(make_mount: MakeMount) -> None:
    """With every thread in a slow request, known answers still come at once, and the rest after."""
    memory = make_mount(Behaviour(would_wait={"open"}), MountOptions(threads=2))
    for n in range(5):
        memory.filesystem.add(f"f{n}", b"%d" % n)
    release = threading.Event()
    memory.filesystem.behaviour.before = lambda name: _wait(release) if name == "open" else None

    with ThreadPoolExecutor(5) as pool:
        reading = [pool.submit((memory.path / f"f{n}").read_bytes) for n in range(5)]
        try:
            deadline = time.monotonic() + SECONDS / 2
            while memory.mounted.figures.waited < 5 and time.monotonic() < deadline:
                assert os.statvfs(memory.path).f_namemax == 255
            assert sorted(names(memory.path)) == [f"f{n}" for n in range(5)]
        finally:
            release.set()
        assert [one.result(SECONDS) for one in reading] == [b"%d" % n for n in range(5)]


def test_what_is_never_supported_is_asked_once(memory: Mount) -> None:
    """After the first refusal the kernel answers for extended attributes by itself."""
    memory.filesystem.add("f", b"x")

    for _ in range(20):
        assert _number(lambda: os.getxattr(memory.path / "f", "user.a")) == errno.ENOTSUP

    assert memory.mounted.figures.by_op[Op.GETXATTR] == 1


@pytest.mark.parametrize("operation", ["lookup", "open", "read", "readdir"])
def test_a_killed_program_does_not_wait_for_the_network(
    make_mount: MakeMount, operation: str
) -> None:
    """A program in a slow request dies when it is interrupted; nothing it asked for is left."""
    memory = make_mount(Behaviour(would_wait={operation}))
    memory.filesystem.add("f", b"x")
    release, arrived = threading.Event(), threading.Event()

    def before(name: str) -> None:
        if name == operation and not release.is_set():
            arrived.set()
            assert release.wait(SECONDS)

    memory.filesystem.behaviour.before = before
    path = memory.path if operation == "readdir" else memory.path / "f"
    command: list[str | Path] = ["ls" if operation == "readdir" else "cat", path]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as program:
        try:
            assert arrived.wait(SECONDS)
            program.send_signal(signal.SIGINT)
            assert program.wait(SECONDS) == -signal.SIGINT
        finally:
            release.set()

    memory.filesystem.behaviour.before = None
    memory.filesystem.behaviour.would_wait = set()
    deadline = time.monotonic() + SECONDS
    while memory.filesystem.handles and time.monotonic() < deadline:
        os.statvfs(memory.path)
    assert (memory.filesystem.handles, memory.mounted.modes.modes()) == ({}, {})


def test_a_signal_that_does_not_kill_changes_nothing(make_mount: MakeMount) -> None:
    """A program that handles a signal in the middle of a slow read gets its bytes, not EINTR."""
    memory = make_mount(Behaviour(would_wait={"read"}, direct=True))
    memory.filesystem.add("f", b"bytes")
    release, arrived = threading.Event(), threading.Event()

    def before(name: str) -> None:
        if name == "read" and not release.is_set():
            arrived.set()
            assert release.wait(SECONDS)

    memory.filesystem.behaviour.before = before
    code = (
        "import os, signal, sys; signal.signal(signal.SIGUSR1, lambda *_: None); "
        "fd = os.open(sys.argv[1], os.O_RDONLY); "
        "import ctypes; buffer = ctypes.create_string_buffer(9); "
        "count = ctypes.CDLL(None).read(fd, buffer, 9); print(count, buffer.value)"
    )
    command: list[str | Path] = [sys.executable, "-c", code, memory.path / "f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert arrived.wait(SECONDS)
            program.send_signal(signal.SIGUSR1)
            _until_interrupted(memory)
        finally:
            release.set()
        said, _ = program.communicate(timeout=SECONDS)

    assert said == "5 b'bytes'\n"


def test_the_watchdog_cuts_a_stuck_connection(make_mount: MakeMount) -> None:
    """A read that is never answered ends with an error once the limit has passed."""
    memory = make_mount(Behaviour(would_wait={"read"}))
    memory.filesystem.add("f", b"x")
    release = threading.Event()
    memory.filesystem.behaviour.before = lambda name: _wait(release) if name == "read" else None

    with Watchdog(memory.mounted, limit_seconds=0.5) as watchdog:
        with pytest.raises(OSError) as seen:
            (memory.path / "f").read_bytes()
        assert watchdog.fired.wait(SECONDS)
    release.set()

    assert seen.value.errno in {errno.ECONNABORTED, errno.ENOTCONN, errno.EIO}
    assert memory.mounted.wait(SECONDS)


def test_a_reading_thread_is_stuck_while_its_request_stays_the_same() -> None:
    """Only a request that is being answered and does not change counts as stuck."""
    now, state = [0.0], [(0, False)]
    seconds = stuck_reader(lambda: state[0], lambda: now[0])
    seen = []

    for now[0], state[0] in [
        (5.0, (0, False)),
        (6.0, (1, True)),
        (9.0, (1, True)),
        (9.5, (2, True)),
    ]:
        seen.append(seconds())

    assert seen == [0.0, 0.0, 3.0, 0.0]


def _until_interrupted(memory: Mount) -> None:
    deadline = time.monotonic() + SECONDS
    while not memory.mounted.figures.by_op.get(Op.INTERRUPT) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert memory.mounted.figures.by_op[Op.INTERRUPT] == 1


def _wait(event: threading.Event) -> None:
    assert event.wait(SECONDS)


def _number(call: object) -> int:
    assert callable(call)
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0
