"""Requests that take their time, or fail, beside others that do not."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datastores import errors
from mount.fuse.layouts import Op
from mount.fuse.options import MountOptions
from mount.fuse.watchdog import Watchdog, stuck_reader
from tests.mount.fuse.conftest import MakeMount, Mount, names
from tests.mount.memory_filesystem import Behaviour

SECONDS = 20


def test_everything_works_when_everything_waits(make_mount: MakeMount) -> None:
    """Every operation gives the same result when its answer is not known at once."""
    memory = make_mount(Behaviour(would_wait={"*"}))
    data = random.Random(1).randbytes(3_000_000)

    (memory.path / "a").mkdir()
    (memory.path / "a" / "f").write_bytes(data)
    (memory.path / "a" / "f").rename(memory.path / "g")
    (memory.path / "link").symlink_to("g")
    os.mknod(memory.path / "node")
    os.utime(memory.path / "g", ns=(1, 2))

    assert (memory.path / "link").read_bytes() == data
    assert sorted(names(memory.path)) == ["a", "g", "link", "node"]
    assert os.statvfs(memory.path).f_namemax == 255
    (memory.path / "g").unlink()
    (memory.path / "a").rmdir()
    assert sorted(names(memory.path)) == ["link", "node"]
    assert memory.mounted.figures.waited == sum(memory.filesystem.waited.values()) - 1  # mknod


def test_answers_that_are_known_take_no_thread(memory: Mount) -> None:
    """A file system that never waits is served by the reading thread alone."""
    memory.filesystem.add("f", b"x")
    threads: set[str] = set()
    memory.filesystem.behaviour.before = lambda _: threads.add(threading.current_thread().name)

    (memory.path / "f").read_bytes()
    names(memory.path)

    assert threads == {"fuse-reader"}


def test_a_slow_read_holds_nobody_else(make_mount: MakeMount) -> None:
    """While one read waits for the network, other files are looked up, listed and read."""
    memory = make_mount()
    release, arrived = threading.Event(), threading.Event()
    memory.filesystem.add("slow", b"slow bytes")
    memory.filesystem.add("fast", b"fast bytes")
    assert (memory.path / "fast").exists()

    def before(name: str) -> None:
        if name == "read" and threading.current_thread().name != "fuse-reader":
            arrived.set()
            assert release.wait(SECONDS)

    memory.filesystem.behaviour.before = before
    memory.filesystem.behaviour.would_wait = {"read"}
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit((memory.path / "slow").read_bytes)
        try:
            assert arrived.wait(SECONDS)
            memory.filesystem.behaviour.would_wait = set()
            assert (memory.path / "fast").read_bytes() == b"fast bytes"
            assert sorted(names(memory.path)) == ["fast", "slow"]
            assert not slow.done()
        finally:
            release.set()
        assert slow.result(SECONDS) == b"slow bytes"


def test_no_more_threads_than_allowed(make_mount: MakeMount) -> None:
    """Sixteen callers that all wait are served by at most three threads, and all are served."""
    memory = make_mount(Behaviour(would_wait={"open"}), MountOptions(threads=3))
    names = [f"f{n}" for n in range(64)]
    for name in names:
        memory.filesystem.add(name, name.encode())
    threads: set[str | int | None] = set()
    memory.filesystem.behaviour.before = lambda name: (
        threads.add(threading.get_ident()) if name == "open" else None
    )

    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda name: (memory.path / name).read_bytes(), names))

    assert read == [name.encode() for name in names]
    assert 1 <= len(threads) <= 3


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.NotFound("store", "key"), errno.ENOENT),
        (errors.AlreadyExists("store", "key"), errno.EEXIST),
        (errors.PermissionDenied("store", "key"), errno.EACCES),
        (errors.CredentialMissing("store", "none was given"), errno.EACCES),
        (errors.PreconditionFailed("store", "key"), errno.ESTALE),
        (errors.Unsupported("store", "key"), errno.ENOTSUP),
        (errors.Unavailable("store", "key"), errno.EIO),
        (errors.Corrupted("store", "key"), errno.EIO),
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError(errno.EDQUOT, "quota"), errno.EDQUOT),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_errors_reach_the_caller_as_their_number(
    make_mount: MakeMount, error: Exception, number: int, *, waits: bool
) -> None:
    """What the file system raises is the errno that the program sees, at once or after a wait."""
    memory = make_mount(Behaviour(would_wait={"read"} if waits else set()))
    memory.filesystem.add("f", b"x")
    memory.filesystem.behaviour.raises["read"] = error

    with pytest.raises(OSError) as seen, (memory.path / "f").open("rb", buffering=0) as file:
        file.read(1)

    # A page that could not be read is EIO to read(), whatever its number was; direct I/O and
    # every other call show the number itself.
    assert seen.value.errno in {number, errno.EIO}
    memory.filesystem.behaviour.raises = {"mkdir": error}
    with pytest.raises(OSError) as seen:
        (memory.path / "new").mkdir()
    assert seen.value.errno == number
    assert memory.mounted.figures.defects == 0


def test_a_failed_write_back_is_an_error_at_close(memory: Mount) -> None:
    """What cannot be made durable is an error of close, not a silence."""
    memory.filesystem.behaviour.raises["flush"] = errors.Unavailable("store", "f")
    fd = os.open(memory.path / "f", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")

    with pytest.raises(OSError) as seen:
        os.close(fd)

    assert seen.value.errno == errno.EIO


def test_a_defect_is_one_failed_call_and_one_trace(
    memory: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that nobody foresaw is EIO to its caller, logged once, and the mount goes on."""
    memory.filesystem.add("f", b"x")
    memory.filesystem.behaviour.raises["readdir"] = ZeroDivisionError("surprise")

    with caplog.at_level(logging.ERROR, "mount.fuse"):
        for _ in range(3):
            with pytest.raises(OSError) as seen:
                names(memory.path)
            assert seen.value.errno == errno.EIO

    (logged,) = caplog.records
    assert (logged.exc_info is not None, memory.mounted.figures.defects) == (True, 3)
    assert (memory.path / "f").read_bytes() == b"x"


@pytest.mark.parametrize("waits", [False, True])
def test_operations_a_store_cannot_do_are_refused(make_mount: MakeMount, *, waits: bool) -> None:
    """Hard links, pipes, attributes, ioctls and exchanges fail with the number for "cannot"."""
    memory = make_mount(Behaviour(would_wait={"*"} if waits else set()))
    memory.filesystem.add("f", b"x")
    path = memory.path / "f"

    assert _number(lambda: os.link(path, memory.path / "g")) == errno.EPERM
    assert _number(lambda: os.mkfifo(memory.path / "pipe")) == errno.EPERM
    assert _number(lambda: os.setxattr(path, "user.a", b"1")) == errno.ENOTSUP
    assert _number(lambda: os.getxattr(path, "user.a")) == errno.ENOTSUP
    assert _number(lambda: os.listxattr(path)) in {0, errno.ENOTSUP}
    with path.open("r+b") as file:
        assert _number(lambda: os.lseek(file.fileno(), 0, os.SEEK_HOLE)) == 0
        # glibc's posix_fallocate writes the bytes itself where the file system cannot.
        os.posix_fallocate(file.fileno(), 0, 3)
    assert path.read_bytes() == b"x\0\0"


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
        if name == operation and threading.current_thread().name == "fuse-pool":
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
        if name == "read" and threading.current_thread().name == "fuse-pool":
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
    memory.filesystem.behaviour.before = lambda name: (
        _wait(release) if name == "read" and "pool" in threading.current_thread().name else None
    )

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
