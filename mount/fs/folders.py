"""Listings: page by page, in the store's order, with what only this mount knows at the end.

Everybody who opens a folder while its listing is believed reads the same one, wherever it has come
to, and asks the store for no page twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from operator import itemgetter

from mount.fs.contract import Child, Kind, OpenedFolder, WouldWait
from mount.fs.handles import FolderHandle, Handles
from mount.fs.inodes import Node
from mount.fs.listing import Listed, Walk, order
from mount.fs.roll import AT, UNSURE, Roll
from mount.fs.tree import NAMES_KEPT, Tree, Unknown


class Reading:
    """Somebody who reads a folder."""

    __slots__ = ("copy", "heard", "is_done", "node", "roll", "sent", "turn")

    def __init__(self, node: Node) -> None:
        self.node = node
        # Held for each call, also while a page is fetched; no other lock is held before it.
        self.turn = threading.Lock()
        # The rest is under the file system's lock. What is read; None before the first read.
        self.roll: Roll | None = None
        # What the kernel may give him without asking.
        self.copy: Roll | None = None
        # The last answer: another listing is gone on with behind one of its names.
        self.heard: Sequence[Child] = ()
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
            reading = self._readings[number] = Reading(node)
            reading.copy = node.told
            return OpenedFolder(number, may_cache=self._may_cache, keep_cache=keeps)

    def read(
        self, number: int, cookie: int, most: int, *, entries: bool, wait: bool
    ) -> Sequence[Child]:
        with self._tree.lock:
            reading = self._readings.get(number)
            if reading is None:  # opened in an earlier life, or not at all
                handle = self._handles.folder(number)
                reading = self._readings[number] = Reading(handle.node)
                reading.heard = handle.heard
        if not reading.turn.acquire(blocking=wait):
            raise WouldWait
        try:
            return self._read(reading, cookie, most, entries=entries, wait=wait)
        finally:
            reading.turn.release()

    def heard(self, number: int) -> tuple[int, Sequence[Child]]:
        """The folder, and the last names from which a later process could go on."""
        with self._tree.lock:
            reading = self._readings[number]
            return reading.node.inode, reading.heard

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
        while True:
            with self._tree.lock:
                self._arrived(reading)
                roll, last = self._roll_at(reading, cookie)
            at = self._bring(reading.node, roll, cookie & AT, last, most, wait=wait)
            with self._tree.lock:
                if not roll.has(at):
                    continue  # others are far ahead in a long folder, or met an error
                lines = roll.lines(at, most)
                reading.is_done = not lines
                if entries:
                    children = self._with_entries(reading, roll, lines)
                else:
                    children = self._plain(reading.node, roll, lines)
                if lines:
                    reading.heard = children if roll.sorts(at + len(lines)) else ()
                return children

    def _roll_at(self, reading: Reading, cookie: int) -> tuple[Roll, str | None]:
        """The listing that a cookie is of, or another with what its name sorts by; lock held."""
        node, at = reading.node, cookie & AT
        base = cookie - at
        known = (reading.roll, reading.copy) if cookie else ()
        before = next((one for one in known if one and one.base == base), None)
        if before and before is reading.roll and before.has(at):
            return before, None
        roll, last, owed = self._tree.roll_of(node), None, None
        if cookie and (roll is None or roll.base != base):
            if before and before.has(at):
                roll = before
            else:
                last = self._last(reading, cookie, before)
                owed = before.local if before and last else None
                reading.copy = before or reading.copy
        if roll is None or owed or roll.first > (at if last is None else 0):
            changes, until = self._tree.changes.count, self._tree.fresh_until()
            roll = Roll(changes, until, _local(node), owed)
            self._tree.rolls.hold(node, roll)
        reading.roll, reading.is_done = roll, False
        if self._may_cache:
            self._note_told(node, roll, cookie)
        return roll, last

    def _note_told(self, node: Node, roll: Roll, cookie: int) -> None:
        """The kernel gets a part of this listing, and may keep it; lock held."""
        others = [one for one in self._readings.values() if one.node is node]
        # A reader of another listing may still give the kernel a part of that.
        is_alone = all(one.roll in {None, roll} or one.is_done for one in others)
        is_known = node.told in {None, roll} if not cookie else node.told is roll
        goes_on = not cookie or cookie & ~AT == roll.base
        node.told = roll if is_alone and is_known and goes_on else UNSURE
        for one in others:
            if one.roll is None and one.copy is None:
                one.copy = roll

    def _last(self, reading: Reading, cookie: int, roll: Roll | None) -> str | None:
        """What the store sorts the name before a cookie by; None if nobody knows; lock held."""
        for child in reading.heard:
            if child.cookie == cookie:
                return order(os.fsdecode(child.name), child.kind)
        return roll.before(cookie & AT) if roll else None

    def _bring(
        self, node: Node, roll: Roll, at: int, last: str | None, most: int, *, wait: bool
    ) -> int:
        """Have the names come that are asked for; where they begin.

        That is behind what the store sorts like `last`, wherever that is now. Without it, or where
        the store has an order of its own, it is the place of this number.
        """
        place = at if last is None else None
        while True:
            with self._tree.lock:
                if place is None:
                    place = roll.behind(last) if last and roll.is_ordered else at
                end, is_at_end = roll.end, roll.is_over or roll.is_broken
            begin = end if place is None else place
            if is_at_end or end >= begin + most:
                return begin
            if not wait:
                if end > begin:
                    return begin
                raise WouldWait
            # The last name that came shows that none was left out before those that come next.
            self._extend(node, roll, max(0, end - 1) if place is None else place)

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
            elif walk.place != place:  # the folder has moved, and so has what would come
                roll.is_broken = True
                return
            hidden = walk.hidden
            try:
                with self._tree.counters.blocked():
                    listed = walk.next_page(count)
            except BaseException:
                roll.is_broken = not walk.is_resumable
                raise
            self._tree.counters.add("requests")
            self._tree.counters.add("hidden_names", walk.hidden - hidden)
            with self._tree.lock:
                self._take(node, roll, walk, listed, at)

    def _take(self, node: Node, roll: Roll, walk: Walk, listed: Listed, at: int) -> None:
        """One page, and all that is known of it; lock held."""
        tree = self._tree
        is_gone = tree.table.is_gone(node)
        if not is_gone:
            roll.add(tree.take(node, walk.place, listed))
        roll.is_ordered = walk.is_ordered
        if walk.is_over:
            roll.is_over = True
            if not is_gone:
                self._end(node, roll)
        roll.forget(at, tree.view.facts)
        if node.roll is roll:
            tree.rolls.grew(len(listed.children))

    def _end(self, node: Node, roll: Roll) -> None:
        """All pages came: what only this mount knows comes behind them."""
        roll.late = roll.end
        tree, before, late = self._tree, self._place(node), _local(node)
        if roll.first and not late.keys() <= roll.local.keys() | roll.kinds.keys():
            # Nobody remembers whether a page showed the others.
            roll.until = 0.0
            late = {}
        for name, kind in roll.local.items():
            known = tree.kind_of(node, before + name, name)
            if known is None:
                late.pop(name, None)
            else:
                late[name] = kind if isinstance(known, Unknown) else known
        roll.add(sorted(late.items(), key=itemgetter(0)))
        if not roll.first and len(roll.names) <= NAMES_KEPT:
            began = roll.until - tree.view.attribute_seconds
            tree.complete(node, roll.names, roll.since, began)

    def _plain(self, node: Node, roll: Roll, lines: Sequence[tuple[int, str]]) -> Sequence[Child]:
        """Names with their numbers and kinds; lock held."""
        known, kinds, number_for = node.children, roll.kinds, self._tree.table.number_for
        before = self._place(node)
        encode = os.fsencode
        return [
            Child(
                encode(name),
                known[name].inode if name in known else number_for(before + name),
                known[name].kind if name in known else kinds[name],
                cookie,
            )
            for cookie, name in lines
        ]

    def _with_entries(
        self, reading: Reading, roll: Roll, lines: Sequence[tuple[int, str]]
    ) -> Sequence[Child]:
        """Names with all that is known of them; lock held."""
        tree, node, sent = self._tree, reading.node, reading.sent
        before, now = self._place(node), tree.now()
        children: list[Child] = []
        for cookie, name in lines:
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

    def _place(self, node: Node) -> str:
        """What the keys of its children begin with; lock held."""
        place = self._tree.table.key(node)
        return place + "/" if place else ""

    def _arrived(self, reading: Reading) -> None:
        """What went out is counted by now, or nobody wants it; lock held."""
        sent, reading.sent = reading.sent, []
        for node in sent:
            node.pins -= 1
            if not node.lookups and not node.pins:
                self._tree.settle(node)


def _local(node: Node) -> dict[str, Kind]:
    """What only this mount knows of a folder; lock held."""
    return {name: child.kind for name, child in node.children.items() if child.is_local}
