"""The file system of a mount: a store, a cache and a spool behind the contract."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from datastores.keys import basename, parent
from datastores.storage.contract import Store
from mount.cache.contract import Cache
from mount.fs.contents import Contents
from mount.fs.contract import (
    Access,
    Change,
    Child,
    Entry,
    Errand,
    Kernel,
    Kind,
    Opened,
    OpenedFolder,
    Space,
)
from mount.fs.counters import Counters, Counts
from mount.fs.drafts import Drafts
from mount.fs.files import Files
from mount.fs.folders import FolderReader
from mount.fs.handles import Handles
from mount.fs.inodes import Node
from mount.fs.moves import Moves
from mount.fs.naming import Naming
from mount.fs.notices import Notices
from mount.fs.opening import Opening
from mount.fs.spool import Spool
from mount.fs.tree import Tree
from mount.fs.upload import Uploads
from mount.fs.versions_opened import VersionsOpened
from mount.fs.view import MountView

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

log = logging.getLogger(__name__)

# A store has no end; programs that compare free space with what they need find enough.
SPACE = Space(total=1 << 50, free=1 << 50, files=1 << 30)


class StoreFileSystem:
    """Implements `mount.fs.contract.FileSystem`; store, cache and spool stay the caller's."""

    def __init__(self, store: Store, cache: Cache, view: MountView, spool: Spool) -> None:
        self._counters = Counters()
        self._view = view
        self._notices = Notices()
        # Threads start with their first task, so a process that only imports this may fork.
        self._crew = ThreadPoolExecutor(view.connections, thread_name_prefix="mount")
        self._tree = Tree(store, view, self._counters, self._notices)
        self._contents = Contents(store, cache, view, self._crew, self._counters)
        uploads = Uploads(store, self._contents, view, self._crew, self._counters)
        self._drafts = Drafts(self._tree, self._contents, uploads, spool)
        self._handles = Handles(self._tree)
        self._opening = Opening(self._tree, self._contents, self._drafts, self._handles)
        self._files = Files(
            self._tree, self._contents, self._drafts, uploads, self._handles, self._opening
        )
        self._folders = FolderReader(self._tree, self._handles)
        self._moves = Moves(self._tree, self._contents, self._drafts, self._crew)
        # Under the tree's lock.
        self._has_stopped = False
        self._naming = Naming(self._tree, self._contents, self._drafts, self._moves)

    def counters(self) -> Counts:
        """Totals and gauges of this moment."""
        with self._tree.lock:
            nodes = self._tree.table.nodes()
            drafts = [node.draft for node in nodes if node.draft]
            hits = int(self._counters.get("cache_hits"))
            return self._counters.counts(
                opens=self._opening.opens,
                backed_opens=self._opening.backed_opens,
                cache_hits=hits + self._contents.kept_hits,
                open_files=self._handles.files,
                open_folders=self._handles.folders,
                inodes=len(nodes),
                lookups=self._tree.table.lookups,
                drafts=len(drafts),
                dirty_bytes=sum(draft.dirty_bytes for draft in drafts),
            )

    def note_versions(self, folder: Path) -> int:
        """Note in this folder what is opened for reading from now on, as the section of this number.

        `mount.fs.version_pages` reads it, at any time and from any process. `OSError` where nothing
        can be noted.
        """
        fresh = VersionsOpened.begin(folder, self._view.place, self._crew.submit)
        with self._tree.lock:
            before, self._opening.versions = self._opening.versions, fresh
        if before is not None:
            before.close()
        return fresh.section

    def refresh(self) -> None:
        """Believe nothing the store said before now."""
        self._contents.let_go_of_kept()
        with self._tree.lock:
            nodes = self._tree.table.nodes()
            self._forget_absent(nodes)
            self._tree.facts.clear()
            for node in nodes:
                node.fresh_until = 0.0
                node.names = node.roll = None
                if node.told is not None:
                    node.told = None
                    self._notices.forget_data(node.inode)
                if node.parent:
                    self._notices.forget_name(node.parent.inode, os.fsencode(node.name))

    def _forget_absent(self, nodes: Iterable[Node]) -> None:
        absent = self._tree.facts.absent()
        if not absent:
            return
        table = self._tree.table
        folders = {
            table.key(node): node.inode
            for node in nodes
            if node.kind is Kind.FOLDER and not table.is_gone(node)
        }
        for key in absent:
            folder = folders.get(parent(key))
            if folder is not None:
                self._notices.forget_name(folder, os.fsencode(basename(key)))

    def start(self, kernel: Kernel) -> None:
        self._notices.start(kernel)

    def stop(self) -> None:
        """Flush within `stop_seconds`, then let go; what did not arrive stays in the spool."""
        deadline = time.monotonic() + self._view.stop_seconds
        with self._tree.lock:
            if self._has_stopped:
                return
            self._has_stopped = True
            files, folders = self._handles.numbers()
            dirty = [node for node in self._tree.table.nodes() if node.draft]
        self._within(deadline, self._drafts.store, dirty)
        for number in folders:
            self._folders.close(number)
        self._within(deadline, self._opening.release, files)
        for node in dirty:
            self._drafts.abandon(node)
        self._contents.stop()
        with self._tree.lock:
            versions = self._opening.versions
            if versions is not None:
                versions.close()
        self._notices.stop(max(0.0, deadline - time.monotonic()))
        self._crew.shutdown(wait=time.monotonic() < deadline, cancel_futures=True)

    def lookup(self, folder: int, name: bytes, *, wait: bool) -> Entry:
        return self._tree.lookup(folder, os.fsdecode(name), wait=wait)

    def forget(self, inode: int, lookups: int) -> None:
        self._tree.forget(inode, lookups)

    def getattr(self, inode: int, handle: int | None, *, wait: bool) -> Entry:  # noqa: ARG002  # the inode says all
        return self._files.getattr(inode, wait=wait)

    def setattr(self, inode: int, handle: int | None, change: Change, *, wait: bool) -> Entry:  # noqa: ARG002  # as above
        return self._files.setattr(inode, change, wait=wait)

    def readlink(self, inode: int, *, wait: bool) -> bytes:
        return self._naming.readlink(inode, wait=wait)

    def opendir(self, inode: int, *, wait: bool) -> OpenedFolder:  # noqa: ARG002  # never waits
        return self._folders.open(inode)

    def readdir(
        self, handle: int, cookie: int, most: int, *, entries: bool = True, wait: bool
    ) -> Sequence[Child]:
        return self._folders.read(handle, cookie, most, entries=entries, wait=wait)

    def remember(self, children: Sequence[Child]) -> None:
        with self._tree.lock:
            for child in children:
                self._tree.table.at(child.inode).lookups += 1

    def releasedir(self, handle: int) -> None:
        self._folders.close(handle)

    def open(
        self, inode: int, access: Access, *, truncate: bool, append: bool, wait: bool
    ) -> Opened:
        return self._opening.open(inode, access, truncate=truncate, append=append, wait=wait)

    def errand(self, inode: int) -> Errand | None:
        return self._opening.errand(inode)

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
        return self._opening.create(
            folder, os.fsdecode(name), permissions, access, exclusive=exclusive, wait=wait
        )

    def read(self, handle: int, offset: int, size: int, *, wait: bool) -> Buffer:
        return self._files.read(handle, offset, size, wait=wait)

    def write(self, handle: int, offset: int, data: memoryview, *, wait: bool) -> int:
        return self._files.write(handle, offset, data, wait=wait)

    def flush(self, handle: int, *, wait: bool) -> None:
        self._files.flush(handle, wait=wait)

    def fsync(self, handle: int, *, wait: bool) -> None:
        self._files.flush(handle, wait=wait)

    def release(self, handle: int) -> None:
        self._opening.release(handle)

    def unlink(self, folder: int, name: bytes, *, wait: bool) -> None:
        self._naming.unlink(folder, os.fsdecode(name), wait=wait)

    def mkdir(self, folder: int, name: bytes, permissions: int, *, wait: bool) -> Entry:
        return self._naming.mkdir(folder, os.fsdecode(name), permissions, wait=wait)

    def rmdir(self, folder: int, name: bytes, *, wait: bool) -> None:
        self._naming.rmdir(folder, os.fsdecode(name), wait=wait)

    def symlink(self, folder: int, name: bytes, target: bytes, *, wait: bool) -> Entry:
        return self._naming.symlink(folder, os.fsdecode(name), target, wait=wait)

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
        self._naming.rename(
            folder, os.fsdecode(name), new_folder, os.fsdecode(new_name), replace=replace, wait=wait
        )

    def statfs(self, *, wait: bool) -> Space:  # noqa: ARG002  # never waits
        return SPACE

    def _within(self, deadline: float, act: Callable[[T], None], things: Iterable[T]) -> None:
        """Do something with each of some things at once, and wait no longer than the deadline."""
        # Not the crew: storing a file waits for blocks that the crew sends.
        helpers = ThreadPoolExecutor(self._view.connections, thread_name_prefix="mount-stop")
        acts = [helpers.submit(act, thing) for thing in things]
        wait(acts, max(0.0, deadline - time.monotonic()))
        helpers.shutdown(wait=False, cancel_futures=True)
        for one in acts:
            error = one.exception() if one.done() and not one.cancelled() else None
            if error:
                log.error("a file could not be stored at the end: %s", error)
