"""Connections, and others that get their numbers."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mount.fuse import device
from mount.fuse.connection import Connection
from mount.fuse.mounts import find_mount
from mount.fuse.options import MountOptions

ATTEMPTS = 50


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    """A folder on which nothing is mounted at the end."""
    yield str(tmp_path)
    while find_mount(str(tmp_path)):
        device.unmount(str(tmp_path), lazy=True)


def test_an_ended_connection_is_not_the_next_one_of_its_number(place: str) -> None:
    """A later mount of the same number at the same place is neither cut nor unmounted."""
    with ExitStack() as stack:
        for _ in range(ATTEMPTS):  # until nobody else on this host was quicker
            before, _fd = _made(place, stack)
            device.unmount(place, lazy=True)
            after, fd = _made(place, stack)
            if after.number == before.number:
                break
            device.unmount(place, lazy=True)
        else:
            pytest.fail("the kernel gave no number again")

        assert before.abort()
        before.unmount(place)

        assert (before.is_at(place), after.is_at(place)) == (False, True)
        assert _is_alive(fd)


def test_an_aborted_connection_is_still_there(place: str) -> None:
    """It is over and still in the way, until it is unmounted."""
    with ExitStack() as stack:
        made, fd = _made(place, stack)
        assert made.abort()

        assert (_is_alive(fd), made.is_at(place)) == (False, True)
        made.unmount(place)
        assert (find_mount(place), made.is_at(place)) == (None, False)


def test_there_is_no_connection_where_nothing_of_fuse_is_mounted(tmp_path: Path) -> None:
    """Neither a plain folder nor another kind of file system has one."""
    assert (Connection.of(str(tmp_path)), Connection.of("/proc")) == (None, None)


def test_without_a_switch_it_says_that_it_cut_nothing(place: str) -> None:
    """Where the host shows no connections, a number is all there is, and nothing is cut."""
    with ExitStack() as stack:
        made, fd = _made(place, stack)
        blind = Connection(made.number, None)

        assert (blind.abort(), blind.is_at(place), _is_alive(fd)) == (False, True, True)
        blind.unmount(place)
    assert find_mount(place) is None


def _made(place: str, stack: ExitStack) -> tuple[Connection, int]:
    fd = device.open_mount(place, MountOptions())
    stack.callback(os.close, fd)
    made = Connection.of(place)
    assert made
    stack.callback(made.close)
    return made, fd


def _is_alive(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return poll.poll(0) == []
