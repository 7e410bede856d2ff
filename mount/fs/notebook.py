"""What a mount notes of its nodes and handles for the process that may come after it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from mount.fs.chronicle import SLOTS, Chronicle
from mount.fs.contents import Content
from mount.fs.contract import ROOT_INODE, Access
from mount.fs.handles import FileHandle
from mount.fs.inodes import Node

# What a key of the chronicle is about; the rest of it is a number.
ABOUT = 1 << 60
NODE, FILE, FOLDER, DRAFT, NUMBER, MOVE = (about * ABOUT for about in range(1, 7))


class Notebook:
    """Notes what is news, and only that; every call is made under the file system's lock."""

    def __init__(self, chronicle: Chronicle) -> None:
        self.chronicle = chronicle
        self._free_slots: list[int] = []
        self._next_slot = 0

    def read(self) -> dict[int, dict[int, list[Any]]]:
        """What earlier processes noted: values by number, by what they are about."""
        found: dict[int, dict[int, list[Any]]] = {
            about: {} for about in (NODE, FILE, FOLDER, DRAFT, NUMBER, MOVE)
        }
        for key, values in self.chronicle.items():
            found[key - key % ABOUT][key % ABOUT] = values
        return found

    def looked_up(self, node: Node) -> None:
        """The kernel was told of a node; by far the most frequent is one that is known."""
        noted = node.noted
        if noted is not None and node.fact is noted[0] and node.slot >= 0:
            self.chronicle.lookups[node.slot] = node.lookups
        else:
            self.note(node)

    def opened(self, handle: FileHandle) -> None:
        """The kernel is about to get a handle."""
        node, noted = handle.node, handle.node.noted
        is_known = noted is not None and noted[:2] == (node.fact, node.kernel_version)
        if not is_known or handle.access is not Access.READ:
            self.note(node)
        if not _goes_without_saying(handle):
            self.note_handle(handle)

    def changed(self, node: Node) -> None:
        """A file has another version, or other attributes; its handles may read another one."""
        self.note(node)
        # An empty folder is in the store once something is in it.
        parent = node.parent
        while parent and parent.noted is not None:
            self.note(parent)
            parent = parent.parent
        for handle in node.handles:
            self.note_handle(handle)

    def note(self, node: Node) -> None:
        """A node as it is now."""
        if node.inode == ROOT_INODE:
            return
        if node.slot < 0:
            node.slot = self._new_slot()
        if node.slot >= 0:
            self.chronicle.lookups[node.slot] = node.lookups
        fresh = _facts(node)
        if node.noted == fresh:
            return
        node.noted = fresh
        for handle in node.handles:
            if not _goes_without_saying(handle):
                self.note_handle(handle)
        parent, fact = node.parent, node.fact
        if parent and parent.noted is None:
            self.note(parent)
        self.chronicle.put(
            NODE + node.inode,
            (
                node.inode,
                node.kind.value,
                parent.inode if parent else 0,
                node.slot,
                fact and (fact.kind and fact.kind.value, fact.size, fact.version, fact.modified_ns),
                node.name,
                *fresh[4:],
                node.kernel_version,
            ),
        )

    def note_handle(self, handle: FileHandle) -> None:
        """A handle as it is now."""
        content, backing = handle.content, handle.backing
        key, fact = handle.pin or (None, None)
        before = handle.noted
        fresh = (
            handle.node.inode,
            handle.access.value,
            handle.is_detached,
            content.key if content else key,
            content.version if content else fact and fact.version,
            content.size if content else fact and fact.size,
            (backing.key, backing.version, backing.size) if backing else None,
        )
        if before is None or before[:-1] != fresh:
            handle.noted = (*fresh, _home(content, before))
            self.chronicle.put(FILE + handle.number, handle.noted)

    def took_up(self, nodes: Iterator[Node]) -> None:
        """These were read from the notes, and are as they are there."""
        used: set[int] = set()
        for node in nodes:
            node.noted = _facts(node)
            used.add(node.slot)
        self._next_slot = max(used, default=-1) + 1
        self._free_slots = sorted(set(range(self._next_slot)) - used, reverse=True)

    def moved(self, node: Node) -> None:
        """The table's: a node has another name, or none any more."""
        if node.noted is not None:
            self.note(node)

    def stored(self, node: Node) -> None:
        """The table's: the store has another version of a node."""
        if node.noted is not None:
            self.note(node)

    def dropped(self, node: Node) -> None:
        """The table's: nobody needs the node any more."""
        if node.noted is not None:
            node.noted = None
            self.chronicle.drop(NODE + node.inode)
        if node.slot >= 0:
            self._free_slots.append(node.slot)
            node.slot = -1

    def numbered(self, key: str, inode: int) -> None:
        """The table's: a renamed file is forgotten and keeps its number."""
        digest = blake2b(key.encode("utf-8", "surrogateescape"), digest_size=7).digest()
        self.chronicle.put(NUMBER + int.from_bytes(digest, "big"), (key, inode))

    def _new_slot(self) -> int:
        if self._free_slots:
            return self._free_slots.pop()
        if self._next_slot == SLOTS:
            # A later process takes such a node for one that was looked up often.
            return -1
        self._next_slot += 1
        return self._next_slot - 1


def _facts(node: Node) -> tuple[Any, ...]:
    return (
        node.fact,
        node.kernel_version,
        node.parent,
        node.name,
        node.kept,
        node.edited,
        node.permissions,
        node.owner,
        node.group,
        node.modified_ns,
        node.changed_ns,
    )


def _goes_without_saying(handle: FileHandle) -> bool:
    """Whether the adapter's own note and the node's say all about a handle.

    So it is for the readers of a file that nobody changes, and opening those writes nothing.
    """
    noted, content = handle.node.noted, handle.content
    return (
        handle.noted is None
        and noted is not None
        and content is not None
        and content.version is not None
        and noted[0] is not None
        and noted[0].version == noted[1] == content.version
        and handle.access is Access.READ
        and handle.node.parent is not None
        and not handle.is_detached
        and handle.pin is None
        and handle.backing in {None, content}
    )


def _home(content: Content | None, before: tuple[Any, ...] | None) -> str | None:
    """Where a cached file is whose key is no longer the one it was cached under."""
    if content is None or not content.cached or before is None or before[4] != content.version:
        return None
    if before[3] == content.key:
        home: str | None = before[-1]
        return home
    return content.cached.path
