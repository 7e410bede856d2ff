"""The files and folders the kernel knows by number."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from datastores.keys import join
from mount.fs.contract import ROOT_INODE, Kind
from mount.fs.facts import Fact

if TYPE_CHECKING:
    from mount.fs.draft import Draft
    from mount.fs.handles import FileHandle
    from mount.fs.listing import Walk
    from mount.fs.roll import Roll

# Of files, which have none: a dictionary for each of 100,000 was 6 MB.
NO_CHILDREN: dict[str, Node] = {}
# Renamed files keep their number while the kernel has forgotten them, up to so many.
NUMBERS_KEPT = 65_536

from_bytes = int.from_bytes


class Node:
    """One file, folder or link; every field is read and written under the file system's lock."""

    __slots__ = (
        "_handles",
        "asked",
        "changed_ns",
        "children",
        "draft",
        "edited",
        "fact",
        "fresh_until",
        "group",
        "inode",
        "kept",
        "kernel_version",
        "kind",
        "lookups",
        "modified_ns",
        "name",
        "names",
        "names_until",
        "noted",
        "owner",
        "pages",
        "parent",
        "path",
        "permissions",
        "pins",
        "roll",
        "slot",
        "told",
    )

    def __init__(self, inode: int, kind: Kind, parent: Node | None, name: str) -> None:
        self.inode = inode
        self.kind = kind
        # None for the root, and for what was deleted and is still in use.
        self.parent = parent
        self.name = name
        # Of a folder: what the keys of its children begin with, once one was asked for; None again
        # when the folder moves or goes. Walking to the root was 2 us of each open and lookup.
        self.path: str | None = None
        self.children: dict[str, Node] = {} if kind is Kind.FOLDER else NO_CHILDREN
        self.lookups = 0
        # Other reasons to stay: handles, listings on their way to the kernel.
        self.pins = 0
        # What the store last said; None while it has never been there.
        self.fact: Fact | None = None
        self.fresh_until = 0.0
        self.draft: Draft | None = None
        self._handles: set[FileHandle] | None = None
        # The version whose pages the kernel may still hold.
        self.kernel_version: str | None = None
        # A folder that the mount shows although the store may have nothing there.
        self.kept = False
        # Of a folder: all its names as a listing showed them, and how often single ones were asked
        # for since; None while it is not known, empty and large folders included.
        self.names: set[str] | None = None
        self.names_until = 0.0
        # Of a folder: its last listing, and the one that the kernel may have kept. A later open
        # leaves the kernel what it has only if these two are one.
        self.roll: Roll | None = None
        self.told: Roll | None = None
        # Of a large folder: the rest of a listing that goes on while its names are asked for.
        self.pages: Walk | None = None
        self.asked = 0
        # Changed in place by this mount: a log that grows is not read past the daemon.
        self.edited = False
        self.permissions: int | None = None
        self.owner: int | None = None
        self.group: int | None = None
        self.modified_ns: int | None = None
        self.changed_ns: int | None = None
        # What a later process would read of it, and where its lookups are counted for that one.
        self.noted: tuple[Any, ...] | None = None
        self.slot = -1

    @property
    def handles(self) -> set[FileHandle]:
        """Who has it open; most files of most folders nobody."""
        if self._handles is None:
            self._handles = set()
        return self._handles

    @property
    def is_local(self) -> bool:
        """Whether this mount knows better than the store."""
        return self.draft is not None or self.kept

    @property
    def has_attributes(self) -> bool:
        return any(
            value is not None
            for value in (self.permissions, self.owner, self.group, self.modified_ns)
        )


class Watcher(Protocol):
    """Whoever notes the table for a later process; called under the file system's lock."""

    def moved(self, node: Node) -> None:
        """It has another name, or none any more."""

    def stored(self, node: Node) -> None:
        """The store has another version of it."""

    def dropped(self, node: Node) -> None:
        """Nobody needs it any more."""

    def numbered(self, key: str, inode: int) -> None:
        """A key keeps a number that is not made from it."""


class InodeTable:
    """Numbers are made from keys, so a forgotten file comes back under its number.

    Nodes that the kernel has forgotten and nothing else needs are dropped. Not safe by itself: the
    file system's lock is held around each call.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self.root = Node(ROOT_INODE, Kind.FOLDER, None, "")
        self._nodes = {ROOT_INODE: self.root}
        # Numbers that are not made from the key, and whose they are.
        self._moved: OrderedDict[str, int] = OrderedDict()
        self._owners: dict[int, str] = {}
        self.watcher: Watcher | None = None

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def lookups(self) -> int:
        return sum(node.lookups for node in self._nodes.values() if node is not self.root)

    def nodes(self) -> list[Node]:
        return list(self._nodes.values())

    def at(self, inode: int) -> Node:
        try:
            return self._nodes[inode]
        except KeyError:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(inode)) from None

    def find(self, inode: int) -> Node | None:
        return self._nodes.get(inode)

    def folder(self, inode: int) -> Node:
        node = self.at(inode)
        if node.kind is not Kind.FOLDER:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), node.name)
        if self.is_gone(node):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), node.name)
        return node

    def is_gone(self, node: Node) -> bool:
        """Whether the node no longer has a name."""
        while node is not self.root:
            parent = node.parent
            if parent is None:
                return True
            if parent.path is not None:
                return False
            node = parent
        return False

    def key(self, node: Node) -> str:
        """The node's place in the store."""
        parent = node.parent
        if parent is not None and parent.path is not None:
            return parent.path + node.name
        names: list[str] = []
        above = node
        while above is not self.root:
            names.append(above.name)
            if above.parent is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), node.name)
            above = above.parent
        key = join(self._place, *reversed(names))
        if parent is not None:
            parent.path = key.removesuffix(node.name)
        return key

    def key_in(self, parent: Node, name: str) -> str:
        """The place of a name in a folder, whether there is a node or not."""
        path = parent.path
        if path is None:
            place = self.key(parent)
            path = parent.path = place + "/" if place else ""
        return path + name

    def add(self, parent: Node, name: str, kind: Kind, key: str | None = None) -> Node:
        """A new node; the key saves the walk to the root to those who know it."""
        key = self.key_in(parent, name) if key is None else key
        node = Node(self.number_for(key), kind, parent, name)
        self._nodes[node.inode] = node
        parent.children[name] = node
        return node

    def detach(self, node: Node) -> None:
        """Take the name away; the node stays while somebody uses it."""
        if node.parent is not None:
            if not self.is_gone(node):
                self._owners.pop(self._moved.pop(self.key(node), 0), None)
            parent, node.parent = node.parent, None
            del parent.children[node.name]
            _forget_paths(node)
            if self.watcher:
                self.watcher.moved(node)
            self.settle(parent)
        self.settle(node)

    def move(self, node: Node, parent: Node, name: str) -> None:
        assert node.parent is not None
        old = node.parent
        del old.children[node.name]
        node.parent, node.name = parent, name
        parent.children[name] = node
        _forget_paths(node)
        if self.watcher:
            self.watcher.moved(node)
        self.settle(old)

    def restore(self, inode: int, kind: Kind) -> Node:
        """A node of an earlier process; without a name until it is hung up."""
        node = self._nodes[inode] = Node(inode, kind, None, "")
        return node

    def hang_up(self, node: Node, parent: Node, name: str) -> None:
        """Give a restored node its name; one whose name is taken stays without."""
        if name not in parent.children:
            node.parent, node.name = parent, name
            parent.children[name] = node

    def keep_number(self, key: str, inode: int) -> None:
        """A number that is not made from its key."""
        self._moved[key] = inode
        self._owners[inode] = key

    def forget(self, inode: int, lookups: int) -> None:
        node = self._nodes.get(inode)
        if node is not None and node is not self.root:
            node.lookups = max(0, node.lookups - lookups)
            self.settle(node)

    def unpin(self, node: Node) -> None:
        node.pins -= 1
        self.settle(node)

    def settle(self, node: Node) -> None:
        """Drop the node, and folders above it, if nothing needs them any more."""
        while node is not self.root and not self.is_needed(node):
            parent = node.parent
            if self._nodes.pop(node.inode, None) and self.watcher:
                self.watcher.dropped(node)
            if parent is None:
                return
            if not self.is_gone(node):
                self._keep_number(node)
            del parent.children[node.name]
            node.parent = node.path = None
            node = parent

    def is_needed(self, node: Node) -> bool:
        if node.lookups or node.pins or node.children:
            return True
        if node.parent is None:
            return node.draft is not None
        return node.is_local or node.has_attributes

    def _keep_number(self, node: Node) -> None:
        key = self.key(node)
        if node.inode != _hashed(key):
            self._moved[key] = node.inode
            self._moved.move_to_end(key)
            self._owners[node.inode] = key
            if self.watcher:
                self.watcher.numbered(key, node.inode)
            if len(self._moved) > NUMBERS_KEPT:
                del self._owners[self._moved.popitem(last=False)[1]]

    def number_for(self, key: str) -> int:
        """The number that a node of this key would get now."""
        number = (self._moved.get(key) if self._moved else None) or _hashed(key)
        nodes, owners = self._nodes, self._owners
        while number in nodes or (owners and owners.get(number, key) != key):
            number += 1
        return number


def _forget_paths(node: Node) -> None:
    """The folder has another place, and so has all that is in it."""
    folders = [node]
    while folders:
        folder = folders.pop()
        folder.path = None
        folders += [child for child in folder.children.values() if child.kind is Kind.FOLDER]


def _hashed(key: str) -> int:
    digest = blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    # 52 bits: adapters keep some of the 64 for themselves, and neighbours are looked for upwards.
    return (from_bytes(digest, "big") >> 12) + ROOT_INODE + 1
