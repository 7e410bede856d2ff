"""Listings: page by page, in the store's order, with what only this mount knows at the end.

A folder whose names are all known, and believed still, is listed without the store: 8 us of this
process for a name. Listed by the store it is 10, with notes for a later process 19, and what the
store's client takes for a page, which is the most of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from mount.fs.contract import Child, WouldWait
from mount.fs.facts import Fact
from mount.fs.handles import FolderHandle, Handles
from mount.fs.listing import names_in
from mount.fs.tree import NAMES_KEPT, Tree


class FolderReader:
    """Opens folders and reads them."""

    def __init__(self, tree: Tree, handles: Handles) -> None:
        self._tree = tree
        self._handles = handles

    def open(self, inode: int) -> int:
        with self._tree.lock:
            return self._handles.add_folder(FolderHandle(self._tree.table.folder(inode)))

    def read(self, number: int, cookie: int, most: int, *, wait: bool) -> Sequence[Child]:
        with self._tree.lock:
            handle = self._handles.folder(number)
        if not handle.turn.acquire(blocking=wait):
            raise WouldWait
        try:
            return self._read(handle, cookie, most, wait=wait)
        finally:
            handle.turn.release()

    def close(self, number: int) -> None:
        with self._tree.lock:
            handle = self._handles.take_folder(number)
            if handle:
                self._drop(handle, len(handle.window))
                self._tree.unpin(handle.node)

    def _read(self, handle: FolderHandle, cookie: int, most: int, *, wait: bool) -> Sequence[Child]:
        if handle.pages is None or cookie < handle.first:
            is_known = cookie == 0 and self._begin_known(handle)
            if not is_known and not wait:
                raise WouldWait
            if not is_known:
                self._begin(handle)
        self._drop(handle, cookie - handle.first)
        while len(handle.window) < most and not handle.is_at_end:
            if not wait:
                if handle.window:
                    break
                raise WouldWait
            self._extend(handle)
            self._drop(handle, cookie - handle.first)
        with self._tree.lock:
            now, entry = self._tree.now(), self._tree.entry
            return [
                Child(os.fsencode(node.name), node.inode, node.kind, cookie, entry(node, now))
                for cookie, node in enumerate(handle.window[:most], handle.first + 1)
            ]

    def _begin_known(self, handle: FolderHandle) -> bool:
        """Whether the folder was listed a moment ago, by whomever, and nothing has to be asked."""
        with self._tree.lock:
            if self._tree.table.is_gone(handle.node):
                return False
            nodes = self._tree.listing(handle.node)
            if nodes is None:
                return False
            self._drop(handle, len(handle.window))
            handle.pages, handle.is_at_end = iter(()), True
            handle.window, handle.first = list(nodes), 0
        return True

    def _begin(self, handle: FolderHandle) -> None:
        fresh = FolderHandle(handle.node)
        self._drop(handle, len(handle.window))
        with self._tree.lock:
            place = self._tree.table.key(handle.node)
            handle.local_names = {
                child.name for child in handle.node.children.values() if child.is_local
            }
            handle.since = self._tree.changes.count
        handle.pages = iter(self._tree.store.list_folder(place))
        handle.is_at_end = False
        handle.shadows, handle.names, handle.first = fresh.shadows, fresh.names, 0

    def _extend(self, handle: FolderHandle) -> None:
        """One more page, or the end."""
        assert handle.pages is not None
        with self._tree.lock:
            since = self._tree.changes.count
            place = self._tree.table.key(handle.node)
        with self._tree.counters.blocked():
            page = next(handle.pages, None)
        self._tree.counters.add("requests")
        if page is None:
            self._end(handle)
            return
        hidden = handle.shadows.hidden
        children = handle.shadows.visible(names_in(page, place))
        self._tree.counters.add("hidden_names", handle.shadows.hidden - hidden)
        with self._tree.lock:
            if not self._tree.table.is_gone(handle.node):
                handle.window += self._tree.offer(handle.node, children, since)
        self._note_names(handle, children)

    def _note_names(self, handle: FolderHandle, children: Sequence[tuple[str, Fact]]) -> None:
        handle.local_names.difference_update(name for name, _ in children)
        if handle.names is not None:
            handle.names.update((name, None) for name, _ in children)
            if len(handle.names) > NAMES_KEPT:
                handle.names = None

    def _end(self, handle: FolderHandle) -> None:
        handle.is_at_end = True
        with self._tree.lock:
            if self._tree.table.is_gone(handle.node):
                return
            for name in sorted(handle.local_names):
                node = handle.node.children.get(name)
                if node:
                    node.pins += 1
                    handle.window.append(node)
            if handle.names is not None:
                names = handle.names | dict.fromkeys(sorted(handle.local_names))
                self._tree.complete(handle.node, names, handle.since)

    def _drop(self, handle: FolderHandle, count: int) -> None:
        """The first so many children have arrived."""
        count = min(count, len(handle.window))
        if count <= 0:
            return
        with self._tree.lock:
            for node in handle.window[:count]:
                node.pins -= 1
                if not node.lookups and not node.pins:
                    self._tree.settle(node)
        del handle.window[:count]
        handle.first += count
