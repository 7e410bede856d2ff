"""What an earlier process noted, made into nodes, handles and drafts again."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

from datastores.value import Value
from mount.cache.held_file import HeldFile
from mount.cache.lease import share
from mount.fs.chronicle import SLOTS
from mount.fs.contents import Content, Contents
from mount.fs.contract import Access, Child, Kind
from mount.fs.facts import Fact
from mount.fs.handles import FileHandle, FolderHandle, Handles
from mount.fs.inodes import Node
from mount.fs.notebook import DRAFT, FILE, FOLDER, NODE, NUMBER, Notebook
from mount.fs.noted_draft import NotedDraft, NotedSpoolFile, reopen
from mount.fs.roll import UNSURE
from mount.fs.spool import Spool
from mount.fs.tree import Tree

log = logging.getLogger(__name__)


class Held(Value):
    """A handle that the kernel holds, as the adapter has noted it."""

    handle: int
    inode: int
    access: Access
    is_folder: bool
    is_backed: bool


class SecondLife(Value):
    """Takes up the notes, once, before the first request; the file system's lock is held."""

    tree: Tree
    contents: Contents
    handles: Handles
    spool: Spool
    notebook: Notebook

    def begin(self, noted: dict[int, dict[int, list[Any]]], held: Sequence[Held]) -> None:
        files = {one.handle for one in held if not one.is_folder}
        folders = {one.handle for one in held if one.is_folder}
        self.handles.number_from(1 + max((one.handle for one in held), default=0))
        self._take_nodes([values[-1] for values in noted[NODE].values()])
        for (key, inode), *_ in noted[NUMBER].values():
            self.tree.table.keep_number(key, inode)
        for number, values in noted[DRAFT].items():
            self._take_draft(number, values)
        self._drop_unnamed()
        for number, values in noted[FILE].items():
            self._take_file(number, values[-1], is_held=number in files)
        for one in held:
            if not one.is_folder and one.handle not in noted[FILE]:
                self._take_reader(one)
        for number, values in noted[FOLDER].items():
            inode, heard = values[-1]
            self._take_folder(number, inode, heard, is_held=number in folders)
        for node in self.tree.table.nodes():
            self.tree.settle(node)

    def _take_nodes(self, noted: Iterable[Sequence[Any]]) -> None:
        table, lookups = self.tree.table, self.notebook.chronicle.lookups
        names: list[tuple[Node, int, str]] = []
        for inode, kind, parent, slot, fact, name, *rest in noted:
            node = table.restore(inode, Kind(kind))
            node.kept, node.edited, node.permissions, node.owner = rest[:4]
            node.group, node.modified_ns, node.changed_ns, node.kernel_version = rest[4:]
            if fact:
                node.fact = Fact(Kind(fact[0]), *fact[1:])
            node.name, node.slot = name, slot
            node.lookups = lookups[slot] if slot >= 0 else SLOTS
            names.append((node, parent, name))
        for node, parent, name in names:
            above = table.find(parent)
            if above is not None:
                table.hang_up(node, above, name)
        self.notebook.took_up(node for node, _, _ in names)

    def _take_draft(self, number: int, noted: Sequence[Any]) -> None:
        (inode, name, base, exclusive, *_), *changes = noted
        node, file = self.tree.table.find(inode), reopen(self.spool.folder / name)
        if node is None or file is None:
            self._lose_draft(number, name, file)
            return
        draft = NotedDraft(
            file,
            self._base(*base) if base else None,
            self.notebook.chronicle,
            DRAFT + number,
            inode,
            exclusive=exclusive,
        )
        draft.take(noted[0])
        for change in changes:
            draft.take_change(change)
        draft.may_be_stored = file.note_path.exists()
        draft.note_all()
        node.draft = draft

    def _drop_unnamed(self) -> None:
        """Spool files whose process died before it noted whose they are, and wrote to them.

        Others that nobody knows are of earlier hosts, and have bytes that a person may want.
        """
        for file, note in self.spool.abandoned():
            if note is None and not os.fstat(file.fd).st_size:
                file.discard()

    def _lose_draft(self, number: int, name: str, file: NotedSpoolFile | None) -> None:
        """One that had ended, or begun for nobody."""
        log.info("spool file %s belongs to no file any more", name)
        self.notebook.chronicle.drop(DRAFT + number)
        if file is not None and not file.note_path.exists():
            file.discard()
        elif file is not None:
            file.leave()

    def _base(self, key: str, version: str | None, size: int) -> Content:
        """A version for what was not written; its bytes are asked for when they are needed."""
        return self.contents.here(key, Fact(Kind.FILE, size, version)) or _stand_in(
            key, version, size
        )

    def _take_file(self, number: int, noted: Sequence[Any], *, is_held: bool) -> None:
        inode, access, is_detached, key, version, size, backing, home = noted
        node = self.tree.table.find(inode)
        if node is None or not is_held:
            self.notebook.chronicle.drop(FILE + number)
            return
        # Appends go where the kernel says: one that was done and is asked for again is not doubled.
        handle = FileHandle(node, Access(access), append=False)
        handle.is_detached = is_detached
        if key is not None:
            fact = Fact(Kind.FILE, size, version)
            handle.content = self.contents.here(key, fact) or _at_home(home, key, fact)
            handle.pin = None if handle.content else (key, fact)
        if backing is not None:
            handle.backing = self._base(*backing)
        handle.noted = tuple(noted)
        if handle.may_write and node.draft:
            node.draft.writers += 1
        self.handles.restore(number, handle)

    def _take_reader(self, one: Held) -> None:
        """A handle without a note reads the version that its node is noted with."""
        node = self.tree.table.find(one.inode)
        if node is None or one.access is not Access.READ or node.fact is None:
            return
        handle = FileHandle(node, one.access, append=False)
        if not self.tree.table.is_gone(node):
            key = self.tree.table.key(node)
            handle.content = self.contents.here(key, node.fact)
            handle.pin = None if handle.content else (key, node.fact)
        if one.is_backed:
            # Whether the file is still in the cache or not: the kernel has it open.
            handle.backing = (
                self.contents.keep(handle.content)
                if handle.content
                else _stand_in("", node.fact.version, node.fact.size)
            )
        self.handles.restore(one.handle, handle)

    def _take_folder(
        self, number: int, inode: int, heard: Iterable[tuple[bytes, str, int]], *, is_held: bool
    ) -> None:
        node = self.tree.table.find(inode)
        if node is None or not is_held:
            self.notebook.chronicle.drop(FOLDER + number)
            return
        node.told = UNSURE  # the kernel may have kept what the process before listed
        lines = [Child(name, 0, Kind(kind), cookie) for name, kind, cookie in heard]
        self.handles.restore(number, FolderHandle(node, lines))


def _at_home(home: str | None, key: str, fact: Fact) -> Content | None:
    """The cached file by its path: cached files are never changed, and never named twice."""
    if home is None:
        return None
    try:
        fd = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    held = HeldFile(fd, home)
    if not share(fd) or os.fstat(fd).st_size != fact.size:
        held.close()
        return None
    content = _stand_in(key, fact.version, fact.size)
    content.cached = held
    return content


def _stand_in(key: str, version: str | None, size: int) -> Content:
    content = Content(key, version, size)
    content.users = 1
    return content
