"""Long random walks: files and folders made, written, moved and removed in every order."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.mount.posix.calls import Calls, got, tree

NAMES = ("a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/a", "e/d")
STEPS = 220
# Steps between two looks at everything.
LOOK_EVERY = 44


def first_walk(do: Calls) -> None:
    """A random walk answers step by step as the reference does."""
    walk(do, 1)


def second_walk(do: Calls) -> None:
    """Another random walk does so, too."""
    walk(do, 2)


def third_walk(do: Calls) -> None:
    """And a third one."""
    walk(do, 3)


def walk(do: Calls, seed: int) -> None:
    walker = Walker(do, random.Random(seed))
    for step in range(STEPS):
        walker.stride()
        if step % LOOK_EVERY == LOOK_EVERY - 1:
            do(tree)
    for fd in walker.fds:
        do(os.close, fd)
    do(tree)


@dataclass
class Walker:
    """Makes random calls; whatever it opens is open for writing as well.

    Files opened for reading alone are left out: from a complete file they read what it was.
    """

    do: Calls
    chance: random.Random
    fds: list[int] = field(default_factory=list)

    def stride(self) -> None:
        """One random call."""
        by_name = (self.open, self.open, self.rename, self.rename, self.name_alone)
        by_descriptor = (self.write, self.write, self.look, self.sync, self.close)
        self.chance.choice((*by_name, *(by_descriptor if self.fds else ())))()

    def open(self) -> None:
        flags = self.chance.choice((0, os.O_TRUNC, os.O_EXCL, os.O_APPEND))
        mode = self.chance.choice((0o644, 0o600))
        opened = self.do(os.open, self.name(), os.O_RDWR | os.O_CREAT | flags, mode)
        if opened is not None:
            self.fds.append(opened)

    def rename(self) -> None:
        self.do(os.rename, self.name(), self.name())

    def name_alone(self) -> None:
        calls: tuple[tuple[Callable[..., object], tuple[int, ...]], ...] = (
            (os.unlink, ()),
            (os.mkdir, ()),
            (os.rmdir, ()),
            (os.truncate, (self.place(),)),
            (got, ()),
            (os.chmod, (self.chance.choice((0o644, 0o711, 0o600)),)),
            (os.stat, ()),
        )
        call, more = self.chance.choice(calls)
        self.do(call, self.name(), *more)

    def write(self) -> None:
        data = self.chance.randbytes(self.size())
        if self.chance.random() < 0.6:
            self.do(os.pwrite, self.fd(), data, self.place())
        else:
            self.do(os.write, self.fd(), data)

    def look(self) -> None:
        self.do(os.pread, self.fd(), self.size(), self.place())

    def sync(self) -> None:
        if self.chance.random() < 0.5:
            self.do(os.ftruncate, self.fd(), self.place())
        else:
            self.do(os.fsync, self.fd())

    def close(self) -> None:
        fd = self.fd()
        self.do(os.close, fd)
        self.fds.remove(fd)

    def name(self) -> str:
        return self.chance.choice(NAMES)

    def fd(self) -> int:
        return self.chance.choice(self.fds)

    def size(self) -> int:
        return self.chance.choice((0, 1, 100, 5_000))

    def place(self) -> int:
        return self.chance.choice((0, 3, 4_095, 9_000))
