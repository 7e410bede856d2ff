"""A store's file system that another process can go on with.

Before a call is answered, what the kernel may hold from it is noted: numbers with their names and
lookups, open handles with their versions, drafts with every change. The next process reads the
notes and answers under the same numbers. Measured on two busy cores: see `mount/CONCURRENCY.md`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import override

from datastores.storage.contract import Store
from mount.cache.contract import Cache
from mount.fs.chronicle import Chronicle
from mount.fs.contents import Content
from mount.fs.contract import Access, Change, Child, Entry, Opened, OpenedFolder
from mount.fs.counters import Counts
from mount.fs.draft import Draft
from mount.fs.file_system import StoreFileSystem
from mount.fs.inodes import Node
from mount.fs.notebook import DRAFT, FILE, FOLDER, MOVE, Notebook
from mount.fs.noted_draft import NotedDraft, NotedSpoolFile
from mount.fs.second_life import Held, SecondLife
from mount.fs.spool import Spool, SpoolFile
from mount.fs.tree import modified_by
from mount.fs.view import MountView

if TYPE_CHECKING:
    from typing_extensions import Buffer


class RevivableFileSystem(StoreFileSystem):
    """The same file system, with notes; `revive` comes before the first request of a later life."""

    def __init__(
        self, store: Store, cache: Cache, view: MountView, spool: Spool, chronicle: Chronicle
    ) -> None:
        super().__init__(store, cache, view, spool)
        self._spool = spool
        self._chronicle = chronicle
        self._notebook = Notebook(chronicle)
        # Under the tree's lock, all of these.
        self._drafts_begun = 0
        self._moves_begun = 0
        # Renames that earlier processes did not finish: folder, name, new folder, new name; and the
        # numbers they are noted under.
        self._moves_left: dict[tuple[int, str, int, str], list[int]] = {}
        # What was not in the store when the end began.
        self._unsent: list[tuple[str, Node, Draft]] = []
        self._tree.table.watcher = self._notebook
        self._drafts.make = self._begin_draft
        self._naming.moving = self._moving

    def revive(self, held: Sequence[Held]) -> None:
        """Know again what the kernel holds, as the processes before noted it."""
        life = SecondLife(self._tree, self._contents, self._handles, self._spool, self._notebook)
        with self._tree.lock:
            noted = self._notebook.read()
            life.begin(noted, held)
            self._drafts_begun = max(noted[DRAFT], default=0)
            self._moves_begun = max(noted[MOVE], default=0)
            for number, values in noted[MOVE].items():
                self._moves_left.setdefault(tuple(values[-1]), []).append(number)

    def keep_counters(self, fd: int) -> None:
        """Go on counting where an earlier process stopped; the memory file outlives them all."""
        self._counters.keep_in(fd)

    @override
    def counters(self) -> Counts:
        with self._tree.lock:
            self._note_opens()
            get = self._counters.get
            return replace(
                super().counters(),
                opens=int(get("opens")),
                backed_opens=int(get("backed_opens")),
                cache_hits=int(get("cache_hits") + get("kept_hits")),
            )

    def count(self, name: str, amount: float) -> None:
        """What somebody else noticed belongs to the mount's numbers, too."""
        self._counters.add(name, amount)

    def store_all(self, seconds: float) -> None:
        """Store what was written, open files included, and wait no longer than that."""
        dirty = self._note_unsent()
        self._within(time.monotonic() + seconds, self._drafts.store, dirty)

    def hurry(self, seconds: float) -> None:
        """`stop` shall take no longer than this."""
        self._view = replace(self._view, stop_seconds=max(0.0, seconds))

    def left(self) -> list[str]:
        """The keys of what is not in the store now; `recover` will find where each belongs."""
        self._note_unsent()
        keys: list[str] = []
        with self._tree.lock:
            unsent = [(key, node, draft) for key, node, draft in self._unsent if draft.is_dirty]
        for key, node, draft in unsent:
            if not draft.file.note_path.exists():
                with self._tree.lock:
                    modified_ns = node.modified_ns or modified_by(node)
                draft.file.describe(draft.note(self._tree.store.identity, key, modified_ns))
            if key not in keys:
                keys.append(key)
        return keys

    @override
    def stop(self) -> None:
        self._note_unsent()
        super().stop()

    @override
    def lookup(self, folder: int, name: bytes, *, wait: bool) -> Entry:
        entry = super().lookup(folder, name, wait=wait)
        with self._tree.lock:
            node = self._tree.table.find(entry.attributes.inode)
            if node:
                self._notebook.looked_up(node)
        return entry

    @override
    def forget(self, inode: int, lookups: int) -> None:
        super().forget(inode, lookups)
        with self._tree.lock:
            node = self._tree.table.find(inode)
            if node and node.slot >= 0:
                self._chronicle.lookups[node.slot] = node.lookups

    @override
    def setattr(self, inode: int, handle: int | None, change: Change, *, wait: bool) -> Entry:
        entry = super().setattr(inode, handle, change, wait=wait)
        self._keep_changed(inode)
        return entry

    @override
    def opendir(self, inode: int, *, wait: bool) -> OpenedFolder:
        opened = super().opendir(inode, wait=wait)
        self._chronicle.put(FOLDER + opened.handle, (inode, ()))
        return opened

    @override
    def readdir(
        self, handle: int, cookie: int, most: int, *, entries: bool = True, wait: bool
    ) -> Sequence[Child]:
        children = super().readdir(handle, cookie, most, entries=entries, wait=wait)
        if children:
            # The next process lists the folder anew, and has to know behind which name to go on.
            inode, heard = self._folders.heard(handle)
            lines = [(child.name, child.kind.value, child.cookie) for child in heard]
            self._chronicle.put(FOLDER + handle, (inode, lines))
        return children

    @override
    def remember(self, children: Sequence[Child]) -> None:
        super().remember(children)
        with self._tree.lock:
            for child in children:
                self._keep(child.inode)

    @override
    def releasedir(self, handle: int) -> None:
        super().releasedir(handle)
        self._chronicle.drop(FOLDER + handle)

    @override
    def open(
        self, inode: int, access: Access, *, truncate: bool, append: bool, wait: bool
    ) -> Opened:
        opened = super().open(inode, access, truncate=truncate, append=append, wait=wait)
        self._keep_open(opened.handle)
        return opened

    @override
    def create(
        self,
        folder: int,
        name: bytes,
        permissions: int,
        access: Access,
        *,
        exclusive: bool,
        wait: bool,
    ) -> tuple[Entry, Opened]:
        entry, opened = super().create(
            folder, name, permissions, access, exclusive=exclusive, wait=wait
        )
        self._keep_open(opened.handle)
        return entry, opened

    @override
    def read(self, handle: int, offset: int, size: int, *, wait: bool) -> Buffer:
        data = super().read(handle, offset, size, wait=wait)
        if wait:
            with self._tree.lock:
                found = self._handles.find(handle)
                if found is not None and found.noted is not None:
                    # It may have been opened again, at the version that it now keeps to.
                    self._notebook.note_handle(found)
        return data

    @override
    def flush(self, handle: int, *, wait: bool) -> None:
        super().flush(handle, wait=wait)
        self._keep_changed(self._inode_of(handle))

    @override
    def fsync(self, handle: int, *, wait: bool) -> None:
        self.flush(handle, wait=wait)

    @override
    def release(self, handle: int) -> None:
        with self._tree.lock:
            found = self._handles.find(handle)
        try:
            super().release(handle)
        finally:
            self._chronicle.drop(FILE + handle)
            if found and found.may_write:
                self._keep_changed(found.node.inode)

    @override
    def unlink(self, folder: int, name: bytes, *, wait: bool) -> None:
        super().unlink(folder, name, wait=wait)
        self._keep(folder)

    @override
    def mkdir(self, folder: int, name: bytes, permissions: int, *, wait: bool) -> Entry:
        entry = super().mkdir(folder, name, permissions, wait=wait)
        self._keep(entry.attributes.inode)
        return entry

    @override
    def rmdir(self, folder: int, name: bytes, *, wait: bool) -> None:
        super().rmdir(folder, name, wait=wait)
        self._keep(folder)

    @override
    def symlink(self, folder: int, name: bytes, target: bytes, *, wait: bool) -> Entry:
        entry = super().symlink(folder, name, target, wait=wait)
        self._keep(entry.attributes.inode)
        return entry

    @override
    def rename(
        self,
        folder: int,
        name: bytes,
        new_folder: int,
        new_name: bytes,
        *,
        replace: bool,
        wait: bool,
    ) -> None:
        move = (folder, os.fsdecode(name), new_folder, os.fsdecode(new_name))
        if wait and move in self._moves_left:
            self._naming.resume_rename(*move)
        else:
            super().rename(folder, name, new_folder, new_name, replace=replace, wait=wait)

    @contextmanager
    def _moving(self, folder: int, name: str, new_folder: int, new_name: str) -> Iterator[None]:
        """Between the store's change and the last note of it, only the intention tells of it."""
        move = (folder, name, new_folder, new_name)
        with self._tree.lock:
            for handle in self._handles.all_files():
                self._notebook.note_handle(handle)
            self._moves_begun += 1
            numbers = [self._moves_begun, *self._moves_left.pop(move, [])]
        self._chronicle.put(MOVE + numbers[0], move)
        try:
            yield
        except Exception:
            self._drop_moves(numbers)
            raise
        with self._tree.lock:
            self._keep(folder)
            self._keep(new_folder)
            for handle in self._handles.all_files():
                # In this order: who finds the draft's note believes the node's, too.
                self._notebook.note(handle.node)
                self._notebook.note_handle(handle)
                if isinstance(handle.node.draft, NotedDraft):
                    handle.node.draft.note_all()
        self._drop_moves(numbers)

    def _drop_moves(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._chronicle.drop(MOVE + number)

    def _keep(self, inode: int) -> None:
        with self._tree.lock:
            node = self._tree.table.find(inode)
            if node is not None:
                self._notebook.note(node)

    def _keep_open(self, number: int) -> None:
        with self._tree.lock:
            handle = self._handles.find(number)
            # It may be closed again already.
            if handle is not None:
                self._notebook.opened(handle)
            self._note_opens()

    def _note_opens(self) -> None:
        """What is counted without a lock of its own, for the process after this one; lock held."""
        self._counters.note("opens", self._opening.opens)
        self._counters.note("backed_opens", self._opening.backed_opens)
        self._counters.note("kept_hits", self._contents.kept_hits)

    def _keep_changed(self, inode: int) -> None:
        with self._tree.lock:
            node = self._tree.table.find(inode)
            if node is not None:
                self._notebook.changed(node)

    def _inode_of(self, number: int) -> int:
        with self._tree.lock:
            handle = self._handles.find(number)
            return handle.node.inode if handle else 0

    def _begin_draft(
        self, node: Node, file: SpoolFile, base: Content | None, exclusive: bool
    ) -> Draft:
        noted_file = NotedSpoolFile(file.path, file.fd)
        self._drafts_begun += 1
        draft = NotedDraft(
            noted_file,
            base,
            self._chronicle,
            DRAFT + self._drafts_begun,
            node.inode,
            exclusive=exclusive,
        )
        draft.note_all()
        return draft

    def _note_unsent(self) -> list[Node]:
        with self._tree.lock:
            dirty = [
                node
                for node in self._tree.table.nodes()
                if node.draft and node.draft.is_dirty and not self._tree.table.is_gone(node)
            ]
            known = {id(draft) for _, _, draft in self._unsent}
            self._unsent += [
                (self._tree.table.key(node), node, node.draft)
                for node in dirty
                if node.draft and id(node.draft) not in known
            ]
        return dirty
