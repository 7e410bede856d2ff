"""Listings: page by page, in the store's order, with what only this mount knows at the end.

Everybody who opens a folder while its listing is believed reads the same one, wherever it has come
to, and asks the store for no page twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from mount.fs.contract import Child, OpenedFolder, WouldWait
from mount.fs.facts import Fact
from mount.fs.handles import FolderHandle, Handles
from mount.fs.inodes import Node
from mount.fs.listing import Walk
from mount.fs.roll import AT, UNSURE, Roll
from mount.fs.tree import NAMES_KEPT, Tree


class Reading:
    """Somebody who reads a folder."""

    __slots__ = ("is_done", "node", "roll", "sent", "turn")

    def __init__(self, node: Node) -> None:
        self.node = node
        # Held for each call, also while a page is fetched; no other lock is held before it.
        self.turn = threading.Lock()
        # The rest is under the file system's lock. What is read; None before the first read.
        self.roll: Roll | None = None
        self.is_done = False
        # Went out with their attributes; not known to have arrived.
        self.sent: list[Node] = []


class FolderReader:
    """Opens folders and reads them."""

    def __init__(self, tree: Tree, handles: Handles) -> None:
        self._tree = tree
        self._handles = handles
        self._readings: dict[int, Reading] = {}  # under the tree's lock
        self._may_cache = tree.view.attribute_seconds > 0

    def open(self, inode: int) -> OpenedFolder:
        """The kernel keeps what it has listed if that is what it would be given now."""
        with self._tree.lock:
            node = self._tree.table.folder(inode)
            roll = None if self._tree.table.is_gone(node) else self._tree.roll_of(node)
            keeps = roll is not None and node.told is roll
            if not keeps:
                node.told = None  # which the kernel drops when it hears of the open
            number = self._handles.add_folder(FolderHandle(node))
            self._readings[number] = Reading(node)
            return OpenedFolder(number, may_cache=self._may_cache, keep_cache=keeps)

    def read(
        self, number: int, cookie: int, most: int, *, entries: bool, wait: bool
    ) -> Sequence[Child]:
        with self._tree.lock:
            reading = self._readings.get(number)
            if reading is None:  # opened in an earlier life, or not at all
                reading = self._readings[number] = Reading(self._handles.folder(number).node)
        if not reading.turn.acquire(blocking=wait):
            raise WouldWait
        try:
            return self._read(reading, cookie, most, entries=entries, wait=wait)
        finally:
            reading.turn.release()

    def close(self, number: int) -> None:
        with self._tree.lock:
            handle = self._handles.take_folder(number)
            reading = self._readings.pop(number, None)
            if reading:
                self._arrived(reading)
            if handle:
                self._tree.unpin(handle.node)

    def _read(
        self, reading: Reading, cookie: int, most: int, *, entries: bool, wait: bool
    ) -> Sequence[Child]:
        at = cookie & AT
        while True:
            with self._tree.lock:
                self._arrived(reading)
                roll = self._roll_at(reading, cookie)
            while roll.end < at + most and not (roll.is_over or roll.is_broken):
                if not wait:
                    if roll.end > at:
                        break
                    raise WouldWait
                self._extend(reading.node, roll, at)
            with self._tree.lock:
                if at < roll.first or roll.is_broken:
                    continue  # others are far ahead in a long folder, or met an error
                names = roll.names[at - roll.first : at - roll.first + most]
                reading.is_done = not names
                if not names:
                    return ()
                if entries:
                    return self._with_entries(reading, roll, names, at)
                return self._plain(reading.node, roll, names, at)

    def _roll_at(self, reading: Reading, cookie: int) -> Roll:
        """The listing that a cookie is of, or one to find its place in; lock held."""
        node, roll, at = reading.node, reading.roll, cookie & AT
        if cookie and roll and cookie - at == roll.base and at >= roll.first and not roll.is_broken:
            return roll
        roll = self._tree.roll_of(node)
        if roll is None or at < roll.first:
            here = [child.name for child in node.children.values() if child.is_local]
            roll = Roll(self._tree.changes.count, self._tree.fresh_until(), here)
            self._tree.rolls.hold(node, roll)
        reading.roll, reading.is_done = roll, False
        is_shown_alone = all(
            one.roll in {None, roll} or one.is_done
            for one in self._readings.values()
            if one.node is node
        )
        goes_on = not cookie or cookie - at == roll.base
        if self._may_cache:
            # A reader of another listing may still give the kernel a part of that.
            is_known = goes_on and is_shown_alone and node.told in {None, roll}
            node.told = roll if is_known else UNSURE
        return roll

    def _extend(self, node: Node, roll: Roll, at: int) -> None:
        """One more page, or the end; who reads at `at` needs nothing that comes before."""
        end = roll.end
        with roll.turn:
            if roll.end > end or roll.is_over or roll.is_broken:
                return  # somebody else brought it, or failed
            with self._tree.lock:
                place, count = self._tree.table.key(node), self._tree.changes.count
            walk = roll.walk
            if walk is None:
                pages = iter(self._tree.store.list_folder(place))
                walk = roll.walk = Walk(pages, place, roll.since)
            # The store's client asks for a page while the one before it is read.
            since, walk.asked_since = walk.asked_since, count
            hidden = walk.hidden
            try:
                with self._tree.counters.blocked():
                    children = walk.next_page()
            except BaseException:
                roll.is_broken = not walk.is_resumable
                raise
            self._tree.counters.add("requests")
            self._tree.counters.add("hidden_names", walk.hidden - hidden)
            with self._tree.lock:
                self._take(node, roll, walk, children, since, at)

    def _take(  # one page, and all that is known of it
        self,
        node: Node,
        roll: Roll,
        walk: Walk,
        children: Sequence[tuple[str, Fact]],
        since: int,
        at: int,
    ) -> None:
        tree = self._tree
        is_gone = tree.table.is_gone(node)
        if not is_gone:
            roll.add(tree.take(node, walk.place, children, since))
        if walk.is_over:
            roll.is_over = True
            if not is_gone:
                self._end(node, roll)
        roll.forget(at, tree.view.facts)
        if node.roll is roll:
            tree.rolls.grew(len(children))

    def _end(self, node: Node, roll: Roll) -> None:
        late = [
            (name, node.children[name].kind) for name in sorted(roll.local) if name in node.children
        ]
        roll.add(late)
        if not roll.first and len(roll.names) <= NAMES_KEPT:
            self._tree.complete(node, roll.names, roll.since)

    def _plain(self, node: Node, roll: Roll, names: Sequence[str], at: int) -> Sequence[Child]:
        """Names with their numbers and kinds; lock held."""
        known, kinds, number_for = node.children, roll.kinds, self._tree.table.number_for
        before = self._before(node)
        encode = os.fsencode
        return [
            Child(
                encode(name),
                known[name].inode if name in known else number_for(before + name),
                kinds[name],
                cookie,
            )
            for cookie, name in enumerate(names, roll.base + at + 1)
        ]

    def _with_entries(
        self, reading: Reading, roll: Roll, names: Sequence[str], at: int
    ) -> Sequence[Child]:
        """Names with all that is known of them; lock held."""
        tree, node, sent = self._tree, reading.node, reading.sent
        before, now = self._before(node), tree.now()
        children: list[Child] = []
        for cookie, name in enumerate(names, roll.base + at + 1):
            key = before + name
            child = self._known(node, name, key, now)
            if child is None:
                kind = roll.kinds[name]
                line = Child(os.fsencode(name), tree.table.number_for(key), kind, cookie)
            else:
                child.pins += 1
                sent.append(child)
                entry = tree.entry(child, now)
                line = Child(os.fsencode(name), child.inode, child.kind, cookie, entry)
            children.append(line)
        return children

    def _known(self, parent: Node, name: str, key: str, now: float) -> Node | None:
        """The node of a name that was listed; None if nothing more than the name is known."""
        node = parent.children.get(name)
        if node is not None and (node.fresh_until > now or node.is_local):
            return node
        facts = self._tree.facts
        # What is no longer believed goes out, too, for no time at all: the kernel will ask.
        last = facts.last(key) if node is None else facts.get(key, now)
        if last is None or last[0].kind is None:
            return node
        facts.drop(key)
        return self._tree.apply(parent, name, last[0], last[1], key)

    def _before(self, node: Node) -> str:
        place = self._tree.table.key(node)
        return place + "/" if place else ""

    def _arrived(self, reading: Reading) -> None:
        """What went out is counted by now, or nobody wants it; lock held."""
        sent, reading.sent = reading.sent, []
        for node in sent:
            node.pins -= 1
            if not node.lookups and not node.pins:
                self._tree.settle(node)
