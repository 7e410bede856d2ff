"""Reading, writing, and making sure: the bytes of open files, and attributes."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from datastores.errors import NotFound, PreconditionFailed
from mount.fs.contents import Contents
from mount.fs.contract import Access, Change, Entry, Kind, WouldWait
from mount.fs.draft import Draft
from mount.fs.drafts import Drafts
from mount.fs.facts import fact_of
from mount.fs.handles import FileHandle, Handles
from mount.fs.inodes import Node
from mount.fs.opening import Opening
from mount.fs.tree import Tree, refusal
from mount.fs.upload import Uploads

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Files:
    """Operations on open files and on attributes."""

    def __init__(  # the parts it joins
        self,
        tree: Tree,
        contents: Contents,
        drafts: Drafts,
        uploads: Uploads,
        handles: Handles,
        opening: Opening,
    ) -> None:
        self._tree = tree
        self._contents = contents
        self._drafts = drafts
        self._uploads = uploads
        self._handles = handles
        self._opening = opening

    def read(self, number: int, offset: int, size: int, *, wait: bool) -> Buffer:
        with self._tree.lock:
            handle = self._handles.file(number)
        data = self._read(handle, offset, size, wait=wait)
        self._tree.counters.add("bytes_read", memoryview(data).nbytes)
        return data

    def write(self, number: int, offset: int, data: memoryview, *, wait: bool) -> int:
        with self._tree.lock:
            handle = self._handles.file(number)
        if not handle.may_write:
            raise refusal(errno.EBADF, handle.node.name)
        with self._drafts.using(handle.node) as draft:
            if draft is None:
                raise refusal(errno.EBADF, handle.node.name)
            self._wait_for_room(draft, wait=wait)
            taken = self._write(handle, draft, offset, data, wait=wait)
            self._tree.counters.add("bytes_written", taken)
            if handle.node.modified_ns is not None:
                with self._tree.lock:
                    handle.node.modified_ns = None
            if draft.size // self._block != (draft.size - taken) // self._block:
                self._stream(handle.node, draft)
            return taken

    def flush(self, number: int, *, wait: bool) -> None:
        with self._tree.lock:
            handle = self._handles.file(number)
            draft = handle.node.draft
            if not handle.may_write or draft is None or not draft.is_dirty:
                return
        if not wait:
            raise WouldWait
        self._drafts.store(handle.node)

    def getattr(self, inode: int, *, wait: bool) -> Entry:
        with self._tree.lock:
            node = self._tree.table.at(inode)
            if self._is_known(node):
                return self._tree.entry(node)
            key, since = self._tree.table.key(node), self._tree.changes.count
        if not wait:
            raise WouldWait
        self._tree.counters.add("requests")
        try:
            with self._tree.counters.blocked():
                fact = fact_of(self._tree.store.stat(key))
        except NotFound:
            return self._vanished(node, key, since)
        with self._tree.lock:
            if not node.is_local and not self._tree.changes.touched(key, since):
                newer = replace(fact, kind=node.kind)
                self._tree.settle(self._tree.update(node, newer, self._tree.fresh_until()))
            return self._tree.entry(node)

    def setattr(self, inode: int, change: Change, *, wait: bool) -> Entry:
        if self._tree.view.read_only:
            raise refusal(errno.EROFS)
        with self._tree.lock:
            node = self._tree.table.at(inode)
        if change.size is not None:
            self._resize(node, change.size, wait=wait)
        with self._tree.lock:
            self._edit_attributes(node, change)
        return self.getattr(inode, wait=wait)

    def _read(self, handle: FileHandle, offset: int, size: int, *, wait: bool) -> Buffer:
        if not handle.is_detached:
            with self._drafts.using(handle.node) as draft:
                if draft:
                    return self._read_draft(handle.node, draft, offset, size, wait=wait)
        return self._read_version(handle, offset, size, wait=wait)

    def _read_draft(
        self, node: Node, draft: Draft, offset: int, size: int, *, wait: bool
    ) -> Buffer:
        end = offset + size
        found = draft.here(offset, end)
        while found is None:
            if not wait:
                raise WouldWait
            self._drafts.fill(node, draft, offset, end)
            found = draft.here(offset, end)
        return found

    def _read_version(self, handle: FileHandle, offset: int, size: int, *, wait: bool) -> Buffer:
        with self._tree.lock:
            if handle.content is None and not wait:
                raise WouldWait
        content = self._opening.pinned(handle)
        try:
            end = min(offset + size, content.size)
            if end <= offset:
                return b""
            if not wait:
                return self._contents.read_at_once(content, offset, end, handle.pacer)
            return self._contents.read(content, offset, end, handle.pacer)
        except PreconditionFailed:
            self._note_stale(handle.node)
            raise
        except OSError as error:
            if error.errno == errno.ESTALE:
                self._note_stale(handle.node)
            raise
        finally:
            self._contents.let_go(content)

    def _note_stale(self, node: Node) -> None:
        self._tree.counters.add("stale_reads")
        self._tree.mark_stale(node)

    @property
    def _block(self) -> int:
        return self._tree.view.block_bytes

    def _wait_for_room(self, draft: Draft, *, wait: bool) -> None:
        if len(draft.sending) < self._tree.view.blocks_in_flight:
            return
        if not wait:
            raise WouldWait
        with self._tree.counters.blocked():
            self._uploads.wait_for_stream(draft)

    def _write(  # what is written, and where
        self, handle: FileHandle, draft: Draft, offset: int, data: memoryview, *, wait: bool
    ) -> int:
        try:
            return draft.append(data) if handle.append else draft.write(offset, data)
        except WouldWait:
            if not wait:
                raise
            # The bytes there were sent and are no longer here: store them, and write over that.
            self._drafts.store(handle.node)
            return draft.append(data) if handle.append else draft.write(offset, data)

    def _stream(self, node: Node, draft: Draft) -> None:
        with self._tree.lock:
            if self._tree.table.is_gone(node):
                return
            key = self._tree.table.key(node)
        self._uploads.stream(draft, key)

    def _is_known(self, node: Node) -> bool:
        return (
            node.kind is Kind.FOLDER
            or node.is_local
            or node.fresh_until > self._tree.now()
            or self._tree.table.is_gone(node)
        )

    def _vanished(self, node: Node, key: str, since: int) -> Entry:
        """The object is gone: open files keep their attributes, others their name no more."""
        with self._tree.lock:
            if not node.is_local and not self._tree.changes.touched(key, since):
                if node.parent:
                    self._tree.table.detach(node)
                if not node.handles:
                    raise refusal(errno.ENOENT, node.name)
            return self._tree.entry(node)

    def _resize(self, node: Node, size: int, *, wait: bool) -> None:
        if node.kind is Kind.FOLDER:
            raise refusal(errno.EISDIR, node.name)
        with self._tree.lock:
            if self._tree.attributes(node).size != size:
                node.modified_ns = None
        with self._drafts.using(node) as draft:
            if draft and draft.writers and not draft.punched:
                draft.truncate(size)
                return
        if not wait:
            raise WouldWait
        # Without an open writer nobody would close it, so it is stored at once.
        opened = self._opening.open(
            node.inode, Access.WRITE, truncate=size == 0 and not node.draft, append=False, wait=True
        )
        try:
            with self._drafts.using(node) as draft:
                assert draft
                self._drafts.truncate(node, draft, size)
            self._drafts.store(node)
        finally:
            self._opening.release(opened.handle)

    def _edit_attributes(self, node: Node, change: Change) -> None:
        view = self._tree.view
        is_folder = node.kind is Kind.FOLDER
        usual = (view.folder_permissions if is_folder else view.file_permissions) & ~view.umask
        if change.permissions is not None:
            node.permissions = None if change.permissions == usual else change.permissions
        if change.owner is not None:
            node.owner = None if change.owner == view.owner else change.owner
        if change.group is not None:
            node.group = None if change.group == view.group else change.group
        if change.modified_ns is not None:
            node.modified_ns = change.modified_ns
        if change != Change(size=change.size):
            node.changed_ns = time.time_ns()


def decoded(name: bytes) -> str:
    """A name as the store spells it."""
    return os.fsdecode(name)
