"""Requests that take their time, or fail, beside others that do not."""

from __future__ import annotations

import errno
import logging
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from datastores import errors
from mount.fuse.options import MountOptions
from tests.mount.adapters.mounting import MakeMount, Mount, names
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
    assert memory.mounted.figures.waited > 0


def test_a_slow_read_holds_nobody_else(make_mount: MakeMount) -> None:
    """While one read waits for the network, other files are looked up, listed and read."""
    memory = make_mount()
    release, arrived = threading.Event(), threading.Event()
    memory.filesystem.add("slow", b"slow bytes")
    memory.filesystem.add("fast", b"fast bytes")
    assert (memory.path / "fast").exists()

    def before(name: str) -> None:
        if name == "read" and not arrived.is_set():
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
    """Sixteen callers that all wait are served three at a time at most, and all of them are."""
    memory = make_mount(Behaviour(would_wait={"open"}), MountOptions(threads=3))
    names = [f"f{n}" for n in range(64)]
    for name in names:
        memory.filesystem.add(name, name.encode())
    arrived, release = [], threading.Event()

    def before(name: str) -> None:
        if name == "open":
            arrived.append(name)
            assert release.wait(SECONDS)

    memory.filesystem.behaviour.before = before
    with ThreadPoolExecutor(16) as pool:
        reading = [pool.submit((memory.path / name).read_bytes) for name in names]
        deadline = time.monotonic() + SECONDS / 2
        while memory.mounted.figures.waited < 16 and time.monotonic() < deadline:
            os.statvfs(memory.path)
        at_once = len(arrived)
        release.set()
        read = [one.result(SECONDS) for one in reading]

    assert read == [name.encode() for name in names]
    assert 1 <= at_once <= 3


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


def _number(call: object) -> int:
    assert callable(call)
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0
