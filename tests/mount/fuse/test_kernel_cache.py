"""What the kernel remembers, and how it is told to forget."""

from __future__ import annotations

import os
import threading

from tests.mount.adapters.mounting import MakeMount, Mount
from tests.mount.memory_filesystem import Behaviour

SECONDS = 20


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
