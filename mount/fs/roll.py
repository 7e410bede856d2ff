"""One listing of a folder, which all who read the folder share."""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mount.fs.contract import Kind
from mount.fs.listing import Walk, order

if TYPE_CHECKING:
    from mount.fs.inodes import Node

# Above this bit a cookie says which listing it is of, below it how many names came before. No two
# listings of the store share a cookie, so a kernel that keeps listings cannot make one out of two.
COOKIE_SHIFT = 32
AT = (1 << COOKIE_SHIFT) - 1
# Below 2^30 for the life of a process, and different from those of the process before.
_numbers = itertools.count(random.getrandbits(29) + 1)


class Roll:
    """Names in the order of the store, as far as the listing has come.

    A name keeps its place for good: what this mount takes away leaves a gap, and what it makes
    comes behind the rest, so whoever reads on after a change of this mount misses no name.

    Everything is under the file system's lock, apart from `turn`: it is held by whoever brings the
    next page, and no other lock is held before it.
    """

    __slots__ = (
        "base",
        "first",
        "gaps",
        "is_broken",
        "is_ordered",
        "is_over",
        "kinds",
        "late",
        "local",
        "names",
        "owed",
        "since",
        "turn",
        "until",
        "walk",
    )

    def __init__(
        self,
        since: int,
        until: float,
        local: Mapping[str, Kind] | None = None,
        owed: Mapping[str, Kind] | None = None,
    ) -> None:
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
        # Names that have a place, and are not in the folder any more.
        self.gaps: frozenset[str] = frozenset()
        # How many names at the beginning are not here any more.
        self.first = 0
        # Names that only this mount knew when it began; what no page showed comes last. So do those
        # that another listing, which broke off, would have shown last.
        self.owed = dict(owed or {})
        self.local = {**(local or {}), **self.owed}
        # Where that begins.
        self.late: int | None = None
        # Whether the store sorts as is expected of it.
        self.is_ordered = True
        self.is_over = False
        # A page did not come, and the store cannot be asked for it again.
        self.is_broken = False

    @property
    def end(self) -> int:
        """How many names came so far."""
        return self.first + len(self.names)

    def has(self, at: int) -> bool:
        """Whether a reader at this place can go on with it."""
        return self.first <= at and (at < self.end or not self.is_broken)

    def add(self, children: Iterable[tuple[str, Kind]]) -> None:
        """More names; one that came already is not taken again."""
        kinds, owed = self.kinds, self.owed if self.late is None else {}
        fresh = [child for child in children if child[0] not in kinds and child[0] not in owed]
        self.names += [name for name, _ in fresh]
        kinds.update(fresh)
        if self.local:
            for name, _ in fresh:
                self.local.pop(name, None)

    def forget(self, at: int, most: int) -> None:
        """Keep the last `most` names, and those from `at` on."""
        gone = min(len(self.names) - most, at - self.first)
        if gone > 0:
            for name in self.names[:gone]:
                self.kinds.pop(name, None)
            del self.names[:gone]
            self.first += gone

    def lines(self, at: int, most: int) -> Sequence[tuple[int, str]]:
        """Up to `most` names from a place on, each with the cookie behind it."""
        names, start = self.names, at - self.first
        if not self.gaps:
            return list(enumerate(names[start : start + most], self.base + at + 1))
        shown = (
            (self.base + self.first + place + 1, names[place])
            for place in range(start, len(names))
            if names[place] in self.kinds
        )
        return list(itertools.islice(shown, most))

    def before(self, at: int) -> str | None:
        """What the store sorts the name before a place by; None if nobody knows."""
        if not self.sorts(at) or not self.first < at <= self.end:
            return None
        name = self.names[at - self.first - 1]
        return order(name, self.kinds.get(name))

    def sorts(self, at: int) -> bool:
        """Whether all names before a place come in the store's order."""
        return self.is_ordered and (self.late is None or at <= self.late)

    def behind(self, last: str) -> int | None:
        """The place behind what the store sorts like this; None while that has not come."""
        names, kinds = self.names, self.kinds
        if not self.is_over and (not names or order(names[-1], kinds[names[-1]]) <= last):
            return None
        late = self.end if self.late is None else self.late
        for place in range(late - self.first):
            if order(names[place], kinds.get(names[place])) > last:
                # At the first that is left nobody knows what came before: that is at the beginning.
                return self.first + place if place else 0
        return late

    def denies(self, name: str, kind: Kind | None) -> bool:
        """Whether it says something else of a name; None is that there is nothing."""
        said = self.kinds.get(name)
        if said is None:
            return kind is not None and self.is_over and not self.first
        return said is not kind

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
        fresh.base, fresh.is_over = self.base, True
        fresh.is_ordered, fresh.late = self.is_ordered, self.late
        made = {name: kind for name, kind in sorted(changes.items()) if kind is not None}
        fresh.kinds = self.kinds | made
        gone = [name for name in changes.keys() - made.keys() if name in fresh.kinds]
        for name in gone:
            del fresh.kinds[name]
        fresh.names = self.names + [
            name for name in made if name not in self.kinds and name not in self.gaps
        ]
        fresh.gaps = self.gaps.union(gone).difference(made)
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
                    node.told = faded or UNSURE
            else:
                total += len(roll.names) + 1
                kept.appendleft((node, roll))
        self._held = kept
        self._names = total
