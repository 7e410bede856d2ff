"""Names and attributes: what is known, and for how long."""

from __future__ import annotations

import enum
import errno
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from datastores.keys import basename, join
from datastores.storage.contract import Store
from mount.fs.asking import SINGLE_QUESTIONS, Asking
from mount.fs.contract import Attributes, Entry, Kind, WouldWait
from mount.fs.counters import Counters
from mount.fs.facts import ABSENT, FOLDER, Fact, FactCache, RecentChanges
from mount.fs.inodes import InodeTable, Node
from mount.fs.listing import LONGEST_NAME, Listed
from mount.fs.notices import Notices
from mount.fs.roll import Roll, Rolls
from mount.fs.turns import Turns
from mount.fs.view import MountView

# Folders up to this size are remembered as complete: a name not in it does not exist.
NAMES_KEPT = 10_000


class Unknown(enum.Enum):
    """Nobody here can say."""

    UNKNOWN = enum.auto()


UNKNOWN = Unknown.UNKNOWN


class Tree:
    """The namespace of a mount.

    `lock` guards the table, its nodes and the facts; it is never held during a request. Locks are
    taken in this order: `lock`, a draft's lock, the lock of the open contents.
    """

    def __init__(self, store: Store, view: MountView, counters: Counters, notices: Notices) -> None:
        self.store = store
        self.view = view
        self.counters = counters
        self.notices = notices
        self.lock: Any = threading.RLock()
        self.turns = Turns(self.lock, view.turn_seconds, store.label)
        # Under the lock.
        self.table = InodeTable(view.place)
        self.facts = FactCache(view.facts)
        self.rolls = Rolls(view.facts)
        self.asking = Asking(self)
        self.changes = RecentChanges()
        self._started_ns = time.time_ns()

    def lookup(self, folder: int, name: str, *, wait: bool) -> Entry:
        """The entry of a name, one lookup counted; inode 0 when there is nothing."""
        refuse_long_name(name)
        found = self.peek(folder, name)
        if found is None:
            if not wait:
                raise WouldWait
            self.asking.ask(folder, name)
            found = self.peek(folder, name, stale=True)
            assert found
        return found

    def peek(self, folder: int, name: str, *, stale: bool = False) -> Entry | None:
        """The entry if it is known, one lookup counted."""
        with self.lock:
            parent = self.table.folder(folder)
            known = self.known(parent, name, stale=stale)
            if known is ABSENT or (stale and known is None):
                seconds = 0.0 if known is None else self.view.absent_seconds
                return Entry(self._nothing(), seconds, seconds)
            if not isinstance(known, Node):
                return None
            known.lookups += 1
            return self.entry(known)

    def known(self, parent: Node, name: str, *, stale: bool = False) -> Node | Fact | None:
        """The node of a name, `ABSENT`, or None when the store has to be asked; lock held."""
        now = time.monotonic()
        node = parent.children.get(name)
        if node and (stale or node.is_local or node.fresh_until > now):
            return node
        key = self.table.key_in(parent, name)
        remembered = self.facts.get(key, now)
        if remembered:
            fact, until = remembered
            if fact.kind is None:
                return ABSENT
            return self.apply(parent, name, fact, until)
        if parent.names is not None and parent.names_until <= now:
            # One more question, and the folder is listed again.
            parent.names, parent.asked = None, SINGLE_QUESTIONS
        if node is None and parent.names is not None and name not in parent.names:
            # Noted, so that a refresh can take back what the kernel is told now.
            self.facts.put(key, ABSENT, parent.names_until)
            return ABSENT
        return None

    def note(self, parent: Node, name: str, fact: Fact) -> None:
        """Take a fact the store just told; lock held."""
        now = time.monotonic()
        if parent.roll and parent.roll.denies(name, fact.kind):
            # The store tells two stories: the folder is listed again before anybody reads it anew.
            parent.roll = None
        if fact.kind is not None:
            self.apply(parent, name, fact, now + self.view.attribute_seconds)
            return
        node = parent.children.get(name)
        if node and node.is_local:
            return
        if node:
            self.table.detach(node)
        self.facts.put(self.table.key_in(parent, name), ABSENT, now + self.view.absent_seconds)
        if parent.names is not None:
            parent.names.discard(name)

    def apply(
        self, parent: Node, name: str, fact: Fact, until: float, key: str | None = None
    ) -> Node:
        """The node of a name as this fact has it; lock held."""
        assert fact.kind
        node = parent.children.get(name)
        if node and node.kind is not fact.kind and not node.is_local:
            self.table.detach(node)
            node = None
        if node is None:
            node = self.table.add(parent, name, fact.kind, key)
            if parent.names is not None:
                parent.names.add(name)
            node.fact, node.fresh_until = fact, until
            return node
        if node.is_local:
            return node
        if parent.names is not None:
            parent.names.add(name)
        return self.update(node, fact, until)

    def update(self, node: Node, fact: Fact, until: float) -> Node:
        """The store says this of a node that has no draft; the node that has the name now; lock held.

        An object that another client replaced while it is open here gets a node of its own: the
        kernel keeps pages by inode, and the readers of the old version would read the new one's.
        """
        before = node.fact
        changed = before is not None and (
            before.version != fact.version or before.size != fact.size
        )
        if before and not changed and before.modified_ns not in {None, fact.modified_ns}:
            # A listing may not carry the time that the writer gave; the first answer stays.
            fact = replace(fact, modified_ns=before.modified_ns)
        if changed and node.parent and any(handle.content or handle.pin for handle in node.handles):
            node = self._successor(node, node.parent)
        node.fact = fact
        node.fresh_until = until
        if changed:
            node.modified_ns = None
            if node.lookups:
                self.notices.forget_data(node.inode)
        return node

    def _successor(self, node: Node, parent: Node) -> Node:
        parent.pins += 1
        self.table.detach(node)
        new = self.table.add(parent, node.name, node.kind)
        parent.pins -= 1
        new.permissions, new.owner, new.group = node.permissions, node.owner, node.group
        self.notices.forget_name(parent.inode, os.fsencode(node.name))
        return new

    def must_fit(self, key: str) -> None:
        """Refuse a name now whose file could never be stored."""
        if len(key) > self.store.features.longest_key:
            raise refusal(errno.ENAMETOOLONG, basename(key))

    def note_stored(self, node: Node, key: str) -> None:
        """The store has what the mount shows of this node; lock held."""
        self.changed(key)
        now = time.monotonic()
        node.fresh_until = now + self.view.attribute_seconds
        parent = node.parent
        if parent and parent.names is not None:
            parent.names.add(node.name)
        while parent and parent is not self.table.root and (parent.kept or not parent.fact):
            # An empty folder is in the store once something is in it.
            parent.kept, parent.fact = False, FOLDER
            parent.fresh_until = now + self.view.attribute_seconds
            parent = parent.parent
        if self.table.watcher:
            self.table.watcher.stored(node)

    def note_folder(self, parent: Node, name: str, *, kept: bool) -> Node:
        """A folder was made, and nothing is in it; lock held."""
        key = join(self.table.key(parent), name)
        self.changed(key)
        node = self.apply(parent, name, FOLDER, self.fresh_until())
        node.kept = kept
        if kept:
            node.fact = None
        else:
            self.note_stored(node, key)
        node.roll, node.names = None, set()
        node.names_until = time.monotonic() + self.view.absent_seconds
        return node

    def note_gone(self, parent: Node, name: str) -> None:
        """The store has nothing under this name any more; lock held."""
        key = join(self.table.key(parent), name)
        self.changed(key)
        self.facts.put(key, ABSENT, time.monotonic() + self.view.absent_seconds)
        if parent.names is not None:
            parent.names.discard(name)
        above: Node | None = parent
        while above and above is not self.table.root and not self.store.features.real_folders:
            # Without its last file the store has no folder, nor those above; here they stay.
            above.kept = True
            above = above.parent

    def now(self) -> float:
        return time.monotonic()

    def fresh_until(self) -> float:
        """Until when an answer that arrives now is taken as true."""
        return time.monotonic() + self.view.attribute_seconds

    def changed(self, *keys: str) -> None:
        """Note that this mount changed what is under these keys; lock held."""
        self.changes.note(*keys)
        for key in keys:
            self.facts.drop(key)

    def mark_stale(self, node: Node) -> None:
        """Ask the store again before the next answer about this node."""
        with self.lock:
            node.fresh_until = 0.0

    def forget(self, inode: int, lookups: int) -> None:
        with self.lock:
            node = self.table.at(inode) if inode else None
            if node:
                node.lookups = max(0, node.lookups - lookups)
                self.settle(node)

    def unpin(self, node: Node) -> None:
        with self.lock:
            node.pins -= 1
            self.settle(node)

    def settle(self, node: Node) -> None:
        """Drop a node nobody needs, and keep what was known of it for a while; lock held."""
        if self.table.is_needed(node):
            return
        if self.table.is_gone(node):
            self.table.settle(node)
            return
        key = self.table.key(node)
        self.table.settle(node)
        if node.parent is None and node is not self.table.root and node.fact:
            self.facts.put(key, node.fact, node.fresh_until)

    def entry(self, node: Node, now: float | None = None) -> Entry:
        """What the kernel is told of a node; lock held."""
        view = self.view
        if node.draft is not None or node.kept or node is self.table.root:
            left = max(view.attribute_seconds, view.name_seconds)
        else:
            left = max(0.0, node.fresh_until - (time.monotonic() if now is None else now))
        if node.told is not None:
            left = min(left, self._told_for(node, node.told))
        return Entry(
            self.attributes(node), min(left, view.name_seconds), min(left, view.attribute_seconds)
        )

    def _told_for(self, node: Node, told: Roll) -> float:
        """How long the kernel's copy of a listing is believed; lock held.

        Who rewinds an open folder opens nothing: the kernel asks for the folder's attributes when
        these have run out, and goes on with the copy that it has.
        """
        left = told.until - time.monotonic()
        if left > 0.0:
            return left
        node.told = None
        if not node.pins:  # nobody has it open, and the next open drops the copy
            return self.view.attribute_seconds
        self.notices.forget_data(node.inode)
        return 0.0

    def attributes(self, node: Node) -> Attributes:
        """What `stat` shows; lock held."""
        view, draft, fact, kind = self.view, node.draft, node.fact, node.kind
        permissions = node.permissions
        if permissions is None:
            usual = view.file_permissions if kind is Kind.FILE else view.folder_permissions
            permissions = (0o777 if kind is Kind.LINK else usual) & ~view.umask
        modified_ns = node.modified_ns
        if modified_ns is None:
            modified_ns = modified_by(node) or self._started_ns
        return Attributes(  # by place: naming the fields takes as long again
            node.inode,
            kind,
            draft.size if draft else fact.size if fact else 0,
            permissions,
            view.owner if node.owner is None else node.owner,
            view.group if node.group is None else node.group,
            modified_ns,
            modified_ns if node.changed_ns is None else node.changed_ns,
            2 if kind is Kind.FOLDER else 1 if node.parent else 0,
        )

    def take(self, parent: Node, place: str, listed: Listed) -> list[tuple[str, Kind]]:
        """What a page of the store's listing shows, noted; lock held.

        No node is made for a name that nobody asked for: that took longer than all the rest.
        """
        until = listed.asked + self.view.attribute_seconds
        changed = self.changes.inside(place, listed.since)
        mine, names, put = parent.children, parent.names, self.facts.put
        before = place + "/" if place else ""
        roll = parent.roll
        if roll and any(roll.denies(name, fact.kind) for name, fact in listed.children):
            parent.roll = None  # as in `note`; where this mount made the name that is no loss
        shown: list[tuple[str, Kind]] = []
        for name, fact in listed.children:
            key = before + name
            kind = fact.kind
            assert kind
            if changed is None or name in changed:
                known = self.kind_of(parent, key, name, is_ours=changed is not None)
                kind = kind if isinstance(known, Unknown) else known
            elif name in mine:
                self.facts.drop(key)
                kind = self.apply(parent, name, fact, until, key).kind
            else:
                put(key, fact, until)
                if names is not None:
                    names.add(name)
            if kind:
                shown.append((name, kind))
        return shown

    def roll_of(self, parent: Node) -> Roll | None:
        """The listing of a folder that is believed still, over or not; lock held.

        Of one that is too long the first names may be gone: whoever has it all may go by it.
        """
        roll = parent.roll
        if roll is None or roll.is_broken or roll.until <= time.monotonic():
            return None
        place = self.table.key(parent)
        changed = self.changes.inside(place, roll.since)
        if not changed:
            return None if changed is None else roll
        if not roll.is_over or roll.first:
            return None
        return self._brought_up_to_date(parent, roll, place, changed)

    def _brought_up_to_date(
        self, parent: Node, roll: Roll, place: str, changed: Iterable[str]
    ) -> Roll | None:
        """A listing with what this mount changed since; None if the store has to say."""
        before = place + "/" if place else ""
        kinds = {name: self.kind_of(parent, before + name, name) for name in changed}
        known = {name: kind for name, kind in kinds.items() if not isinstance(kind, Unknown)}
        if len(known) < len(kinds) or roll.end > self.view.facts:
            return None
        if all(roll.kinds.get(name) is kind for name, kind in known.items()):
            roll.since = self.changes.count  # files were written, and no name came or went
            return roll
        fresh = roll.with_changes(known, self.changes.count)
        self.rolls.hold(parent, fresh)
        return fresh

    def kind_of(
        self, parent: Node, key: str, name: str, *, is_ours: bool = True
    ) -> Kind | Unknown | None:
        """What is known of a name, None if it is gone; of what this mount changed it needs no lifetime."""
        node = parent.children.get(name)
        if node:
            return node.kind
        last = self.facts.last(key) if is_ours else self.facts.get(key, self.now())
        return last[0].kind if last else UNKNOWN

    def complete(self, parent: Node, names: Iterable[str], since: int, began: float) -> None:
        """All names of a folder are known, from a listing that began then; lock held."""
        if self.changes.inside(self.table.key(parent), since) != set():
            return
        parent.names = set(names)
        parent.names_until = began + self.view.absent_seconds
        roll = parent.roll
        if roll and roll.is_over and not parent.names.issuperset(roll.kinds):
            parent.roll = None  # as in `note`

    def _nothing(self) -> Attributes:
        return Attributes(0, Kind.FILE, 0, 0, 0, 0, 0, 0, 0)


def modified_by(node: Node) -> int | None:
    """When the bytes changed last, as far as anybody said; lock held."""
    if node.draft and node.draft.modified_ns:
        return node.draft.modified_ns
    return node.fact.modified_ns if node.fact else None


def refuse_long_name(name: str) -> None:
    """The kernel itself lets names of 1024 bytes through."""
    if len(name) > LONGEST_NAME // 4 and len(os.fsencode(name)) > LONGEST_NAME:
        raise refusal(errno.ENAMETOOLONG, name)


def refusal(number: int, name: str = "") -> OSError:
    """The system's own error for something a file system refuses."""
    return OSError(number, os.strerror(number), name)
