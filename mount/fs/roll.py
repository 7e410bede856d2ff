"""One listing of a folder, which all who read the folder share."""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mount.fs.contract import Kind
from mount.fs.listing import Walk

if TYPE_CHECKING:
    from mount.fs.inodes import Node

# Above this bit a cookie says which listing it is of, below it how many names came before. No two
# listings share a cookie, so a kernel that keeps listings cannot make one out of two.
COOKIE_SHIFT = 32
AT = (1 << COOKIE_SHIFT) - 1
# Below 2^30 for the life of a process, and different from those of the process before.
_numbers = itertools.count(random.getrandbits(29) + 1)


class Roll:
    """Names in the order of the store, as far as the listing has come.

    Everything is under the file system's lock, apart from `turn`: it is held by whoever brings the
    next page, and no other lock is held before it.
    """

    __slots__ = (
        "base",
        "first",
        "is_broken",
        "is_over",
        "kinds",
        "local",
        "names",
        "since",
        "turn",
        "until",
        "walk",
    )

    def __init__(self, since: int, until: float, local: Iterable[str] = ()) -> None:
        self.base = next(_numbers) << COOKIE_SHIFT
        self.turn = threading.Lock()
        # Begun with the first page that somebody waits for.
        self.walk: Walk | None = None
        # The number of the mount's changes when it began, or when it was last brought up to date.
        self.since = since
        # Counted from its beginning: that is how old its first name is.
        self.until = until
        self.names: list[str] = []
        self.kinds: dict[str, Kind] = {}
        # How many names at the beginning are not here any more.
        self.first = 0
        # Names that only this mount knew when it began; what no page showed comes last.
        self.local = set(local)
        self.is_over = False
        # A page did not come, and the store cannot be asked for it again.
        self.is_broken = False

    @property
    def end(self) -> int:
        """How many names came so far."""
        return self.first + len(self.names)

    def add(self, children: Sequence[tuple[str, Kind]]) -> None:
        """More names."""
        self.names += [name for name, _ in children]
        self.kinds.update(children)
        if self.local:
            self.local.difference_update(name for name, _ in children)

    def forget(self, at: int, most: int) -> None:
        """Keep the last `most` names, and those from `at` on."""
        gone = min(len(self.names) - most, at - self.first)
        if gone > 0:
            for name in self.names[:gone]:
                self.kinds.pop(name, None)
            del self.names[:gone]
            self.first += gone

    def shows(self, name: str) -> bool | None:
        """Whether a name is in it; None while nobody can say."""
        if name in self.kinds:
            return True
        return False if self.is_over and not self.first else None

    def faded(self) -> Roll | None:
        """The same listing without its names, for a kernel that has them; None if it has not ended."""
        if not self.is_over:
            return None
        faded = Roll(self.since, self.until)
        faded.first, faded.is_over = self.end, True
        return faded

    def with_changes(self, changes: dict[str, Kind | None], since: int) -> Roll:
        """The same listing after this mount made names, or took them away (None)."""
        fresh = Roll(since, self.until)
        kinds = {name: kind for name, kind in self.kinds.items() if changes.get(name, kind)}
        for name in sorted(changes):
            kind = changes[name]
            if kind is not None:
                kinds[name] = kind
        fresh.kinds, fresh.names, fresh.is_over = kinds, list(kinds), True
        return fresh


# What the kernel is told of when nobody can say which listing it may have kept.
UNSURE = Roll(0, 0.0)


class Rolls:
    """Which folders have a roll; the oldest are dropped when there are too many names in them.

    Used under the file system's lock.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: deque[tuple[Node, Roll]] = deque()
        self._names = 0

    def hold(self, node: Node, roll: Roll) -> None:
        """The folder has this roll from now on."""
        node.roll = roll
        self._held.append((node, roll))
        self.grew(len(roll.names) + 1)

    def grew(self, names: int) -> None:
        """So many names came to some roll."""
        self._names += names
        if self._names <= self.most:
            return
        kept: deque[tuple[Node, Roll]] = deque()
        total = 0
        for node, roll in reversed(self._held):
            if node.roll is not roll:
                continue
            if total > self.most * 3 // 4:
                faded = roll.faded()
                node.roll = faded
                if node.told is roll:
                    node.told = faded
            else:
                total += len(roll.names) + 1
                kept.appendleft((node, roll))
        self._held = kept
        self._names = total
