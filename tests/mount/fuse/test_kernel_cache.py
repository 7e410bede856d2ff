"""What the kernel remembers, and how it is told to forget."""

from __future__ import annotations

import os
import threading
import time

from tests.mount.fuse.conftest import MakeMount, Mount
from tests.mount.memory_filesystem import Behaviour

SECONDS = 20


def test_pages_survive_from_one_open_to_the_next(make_mount: MakeMount) -> None:
    """With `keep_cache` a file that is read ten times is fetched once."""
    memory = make_mount(Behaviour(keep_cache=True))
    memory.filesystem.add("f", b"x" * 500_000)

    (memory.path / "f").read_bytes()
    fetched = memory.filesystem.calls["read"]
    for _ in range(9):
        assert (memory.path / "f").read_bytes() == b"x" * 500_000

    assert memory.filesystem.calls["read"] == fetched


def test_pages_are_dropped_by_an_open_that_does_not_keep_them(memory: Mount) -> None:
    """Without `keep_cache` each open reads anew."""
    memory.filesystem.add("f", b"x" * 1000)

    for _ in range(3):
        (memory.path / "f").read_bytes()

    assert memory.filesystem.calls["read"] == 3


def test_a_direct_file_is_never_cached(make_mount: MakeMount) -> None:
    """With `direct` every read of the program is a read of the file system."""
    memory = make_mount(Behaviour(direct=True))
    memory.filesystem.add("f", b"x" * 1000)

    with (memory.path / "f").open("rb", buffering=0) as file:
        for _ in range(5):
            file.seek(0)
            file.read(100)

    assert memory.filesystem.calls["read"] == 5


def test_a_notice_drops_cached_data(make_mount: MakeMount) -> None:
    """An open descriptor reads the old bytes until `forget_data`, and then the new ones."""
    memory = make_mount(Behaviour(keep_cache=True))
    node = memory.filesystem.add("f", b"old")
    fd = os.open(memory.path / "f", os.O_RDONLY)
    try:
        seen = [os.pread(fd, 3, 0)]
        memory.filesystem.add("f", b"new")
        seen.append(os.pread(fd, 3, 0))

        memory.mounted.notifier.forget_data(node.inode)
        assert memory.mounted.notifier.settle(SECONDS)

        seen.append(os.pread(fd, 3, 0))
    finally:
        os.close(fd)

    assert seen == [b"old", b"old", b"new"]


def test_a_notice_drops_cached_attributes(memory: Mount) -> None:
    """stat shows the old size until `forget_data`, and then the new one."""
    node = memory.filesystem.add("f", b"old")
    seen = [(memory.path / "f").stat().st_size]
    memory.filesystem.add("f", b"newer")
    seen.append((memory.path / "f").stat().st_size)

    memory.mounted.notifier.forget_data(node.inode)
    assert memory.mounted.notifier.settle(SECONDS)

    assert [*seen, (memory.path / "f").stat().st_size] == [3, 3, 5]


def test_a_notice_drops_a_cached_name(make_mount: MakeMount) -> None:
    """After `forget_name` a name that was known not to exist is found."""
    memory = make_mount(Behaviour(negative_seconds=60))
    assert not (memory.path / "f").exists()
    memory.filesystem.add("f", b"x")
    assert not (memory.path / "f").exists()

    memory.mounted.notifier.forget_name(1, b"f")
    assert memory.mounted.notifier.settle(SECONDS)

    assert (memory.path / "f").exists()


def test_a_notice_about_nothing_does_no_harm(memory: Mount) -> None:
    """Notices about inodes and names that the kernel never saw are ignored."""
    memory.mounted.notifier.forget_data(4711)
    memory.mounted.notifier.forget_name(4711, b"nothing")
    memory.mounted.notifier.forget_name(1, b"nothing")

    assert memory.mounted.notifier.settle(SECONDS)
    assert memory.mounted.notifier.sent == 3


def test_a_notice_from_a_request_does_not_deadlock(make_mount: MakeMount) -> None:
    """A file system may send a notice about the very file whose read it is serving."""
    memory = make_mount(Behaviour(keep_cache=True))
    node = memory.filesystem.add("f", b"x" * 300_000)

    def before(name: str) -> None:
        if name == "read" and memory.filesystem.kernel is not None:
            memory.filesystem.kernel.forget_data(node.inode)

    memory.filesystem.behaviour.before = before
    done = threading.Thread(target=(memory.path / "f").read_bytes, daemon=True)
    done.start()
    done.join(SECONDS)

    assert not done.is_alive()


def test_lifetimes_end(make_mount: MakeMount) -> None:
    """An attribute is asked for again once its lifetime is over, a fraction of a second here."""
    memory = make_mount(Behaviour(name_seconds=0.05, attribute_seconds=0.05))
    memory.filesystem.add("f", b"old")
    assert (memory.path / "f").stat().st_size == 3
    memory.filesystem.add("f", b"newer")

    deadline = time.monotonic() + SECONDS
    while (memory.path / "f").stat().st_size != 5 and time.monotonic() < deadline:
        pass

    assert (memory.path / "f").read_bytes() == b"newer"
