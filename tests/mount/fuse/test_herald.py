"""The process that hands notices to the kernel."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mount.fuse.herald import Herald
from mount.fuse.notify import Notifier


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """A pipe in place of the kernel's device: who reads, who writes."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_a_herald_hands_over_and_tells_what_was_refused(ends: tuple[int, int]) -> None:
    """What it is told reaches the descriptor, and a refusal comes back as its number."""
    reader, writer = ends
    herald, refused = Herald.fork(writer), Herald.fork(reader)
    try:
        assert (herald.tell(b"one"), herald.tell(b"two")) == (0, 0)
        assert os.read(reader, 100) == b"onetwo"
        assert refused.tell(b"one") == errno.EBADF
    finally:
        herald.close()
        refused.close()


def test_a_herald_has_nothing_else_open(ends: tuple[int, int]) -> None:
    """It keeps no descriptor of its parent but the device: no lock, no socket, no memory."""
    herald = Herald.fork(ends[1])
    try:
        assert herald.tell(b"one") == 0  # it is at work
        pid = herald._child.pid  # nobody else has to know it
        numbers = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    finally:
        herald.close()
    assert ends[0] not in numbers
    assert len(numbers - {0, 1, 2, ends[1]}) == 1
    assert not Path(f"/proc/{pid}").exists()


def test_notices_arrive_without_a_herald_that_was_killed(ends: tuple[int, int]) -> None:
    """A notice whose herald is dead is written all the same, and so are those after it."""
    reader, writer = ends
    herald, notifier = Herald.fork(writer), Notifier(writer, lambda inode: [inode])
    os.kill(herald._child.pid, signal.SIGKILL)
    notifier.start(herald)
    notifier.forget_data(7)
    notifier.forget_data(8)

    assert notifier.settle(30)
    assert notifier.close(30)
    assert (notifier.sent, len(os.read(reader, 1000))) == (2, 2 * 40)
