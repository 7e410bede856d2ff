"""Files from open to release."""

from __future__ import annotations

import errno
import time

from datastores.errors import NotFound, PreconditionFailed
from datastores.keys import join
from mount.fs.contents import Content, Contents
from mount.fs.contract import Access, Entry, Errand, Kind, Opened, WouldWait
from mount.fs.draft import Draft
from mount.fs.drafts import Drafts
from mount.fs.facts import ABSENT, Fact, fact_of
from mount.fs.handles import FileHandle, Handles
from mount.fs.inodes import Node
from mount.fs.tree import Tree, refusal, refuse_long_name
from mount.fs.versions_opened import VersionsOpened

ATTEMPTS = 5
# By these names: Python looks an enumeration's member up for 0.14 us each time.
READ, FOLDER = Access.READ, Kind.FOLDER


class Opening:
    """Opens, creates and releases files."""

    def __init__(self, tree: Tree, contents: Contents, drafts: Drafts, handles: Handles) -> None:
        self._tree = tree
        self._contents = contents
        self._drafts = drafts
        self._handles = handles
        # Under the tree's lock.
        self.opens = 0
        self.backed_opens = 0
        self.versions: VersionsOpened | None = None

    def open(
        self, inode: int, access: Access, *, truncate: bool, append: bool, wait: bool
    ) -> Opened:
        if access is READ and not truncate:
            return self._open_for_reading(inode, wait=wait)
        with self._tree.lock:
            node = self._file(inode)
        self._refuse_read_only()
        # Whoever truncates has something to store when he closes, be it opened for reading.
        return self._open_for_writing(
            node, access | Access.WRITE, truncate=truncate, append=append, wait=wait
        )

    def errand(self, inode: int) -> Errand | None:
        """The file on its way, if another process can bring it."""
        with self._tree.lock:
            try:
                node = self._file(inode)
            except OSError:
                return None  # whoever opens it will be told
            fact = None if node.draft else self._fresh_fact(node)
            key = self._tree.table.key(node)
        return self._contents.errand(key, fact) if fact else None

    def create(
        self,
        folder: int,
        name: str,
        permissions: int,
        access: Access,
        *,
        exclusive: bool,
        wait: bool,
    ) -> tuple[Entry, Opened]:
        self._refuse_read_only()
        refuse_long_name(name)
        asked = False
        while True:
            made = self._create(folder, name, permissions, access, exclusive=exclusive, asked=asked)
            if isinstance(made, tuple):
                return made
            if not wait:
                raise WouldWait
            if made is None:
                asked = self._tree.asking.ask(folder, name)
                continue
            opened = self.open(made.inode, access, truncate=False, append=False, wait=wait)
            with self._tree.lock:
                made.lookups += 1
                return self._tree.entry(made), opened

    def release(self, number: int) -> None:
        with self._tree.lock:
            handle = self._handles.take_file(number)
            if handle is None:
                return
            node, content, backing = handle.node, handle.content, handle.backing
            handle.content = handle.backing = None
            draft = node.draft
            if draft is None:
                node.pins -= 1
                if not node.lookups:  # else the kernel needs it
                    self._tree.settle(node)
            elif handle.may_write:
                draft.writers -= 1
        if content and content is backing:
            self._contents.let_go(content, 2)
        else:
            for loose in (content, backing):
                if loose:
                    self._contents.let_go(loose)
        if draft:
            try:
                self._drafts.release(node)
            finally:
                self._tree.unpin(node)

    def pinned(self, handle: FileHandle) -> Content:
        """The version a handle reads, one more user of it; opened again after a local change."""
        with self._tree.lock:
            if handle.content:
                return self._contents.keep(handle.content)
            node, pin = handle.node, handle.pin
            key, fact = pin or (self._tree.table.key(node), node.fact)
        if fact is None:
            raise refusal(errno.ESTALE, node.name)
        content, _ = self._contents.open(key, fact)
        if pin and content.version != fact.version:
            self._contents.let_go(content)
            raise refusal(errno.ESTALE, node.name)
        with self._tree.lock:
            if handle.content is None and (pin or node.draft is None):
                handle.content = self._contents.keep(content)
                handle.pin = None
        return content

    def _create(
        self,
        folder: int,
        name: str,
        permissions: int,
        access: Access,
        *,
        exclusive: bool,
        asked: bool,
    ) -> tuple[Entry, Opened] | Node | None:
        """The new file, the one that is there, or None when the store has to be asked.

        What it just `asked` holds, however short the lifetimes are.
        """
        with self._tree.lock:
            parent = self._tree.table.folder(folder)
            known = self._tree.known(parent, name, stale=asked)
            if isinstance(known, Node):
                if exclusive:
                    raise refusal(errno.EEXIST, name)
                if known.kind is FOLDER:
                    raise refusal(errno.EISDIR, name)
                return known
            key = join(self._tree.table.key(parent), name)
            is_absent = known is ABSENT or asked
            if not is_absent or not self._tree.turns.is_free(key):
                return None
            self._tree.must_fit(key)
            node = self._tree.table.add(parent, name, Kind.FILE)
            try:
                draft = self._drafts.begin(node, None, exclusive=exclusive)
            except OSError:
                self._tree.table.settle(node)
                raise
            draft.touch()
            self._tree.changed(key)
            if permissions != self._tree.view.file_permissions & ~self._tree.view.umask:
                node.permissions = permissions
            node.lookups += 1
            opened = self._add_handle(node, access, draft, append=False)
            return self._tree.entry(node), opened

    def _open_for_reading(self, inode: int, *, wait: bool) -> Opened:
        tree, contents = self._tree, self._contents
        for _ in range(ATTEMPTS):
            with tree.lock:
                node = self._file(inode)
                if node.draft:
                    return self._add_handle(node, READ, None, append=False)
                key, since = tree.table.key(node), tree.changes.count
                fact = node.fact if node.fresh_until > time.monotonic() else None
                content = contents.shared(key, fact) if fact else None
                if content:
                    return self._add_reader(node, content)
            content = contents.here(key, fact) if fact else None
            if not content and not wait:
                raise WouldWait
            content = content or self._fetch(node, key, fact, since)
            with tree.lock:
                is_late = node.draft is not None or tree.changes.touched(key, since)
                if not is_late and not tree.table.is_gone(node):
                    return self._add_reader(node, content)
            contents.let_go(content)  # a writer was quicker
        raise refusal(errno.EAGAIN, node.name)

    def _fetch(self, node: Node, key: str, fact: Fact | None, since: int) -> Content:
        try:
            if fact is None:
                self._tree.counters.add("requests")
                info = self._tree.store.stat(key)
                fact = fact_of(info)
                self._learn(node, key, fact, since)
            content, newer = self._contents.open(key, fact)
        except NotFound as missing:
            if missing.key is not None:
                self._forget_name(node)
            raise
        except PreconditionFailed:
            self._tree.mark_stale(node)
            raise
        if newer:
            self._learn(node, key, fact_of(newer), since)
        return content

    def _learn(self, node: Node, key: str, fact: Fact, since: int) -> None:
        with self._tree.lock:
            # An answer that was asked for before a change made here says nothing about what is.
            if not node.is_local and not self._tree.changes.touched(key, since):
                until = self._tree.fresh_until()
                self._tree.settle(self._tree.update(node, fact, until))

    def _forget_name(self, node: Node) -> None:
        with self._tree.lock:
            if node.parent and not node.is_local:
                self._tree.table.detach(node)

    def _open_for_writing(
        self, node: Node, access: Access, *, truncate: bool, append: bool, wait: bool
    ) -> Opened:
        for _ in range(ATTEMPTS):
            with self._tree.lock:
                opened = self._join_draft(node, access, truncate=truncate, append=append)
                if opened:
                    return opened
                self._refuse_gone(node)
                key, fact = self._tree.table.key(node), self._fresh_fact(node)
                since = self._tree.changes.count
                if truncate:
                    draft = self._drafts.begin(node, None)
                    draft.touch()
                    node.modified_ns = None
                    self._tree.changed(key)
                    return self._add_handle(node, access, draft, append=append)
            base = fact and self._contents.here(key, fact)
            if not base and not wait:
                raise WouldWait
            base = base or self._fetch(node, key, fact, since)
            with self._tree.lock:
                if node.draft is None and node.fact and node.fact.version == base.version:
                    draft = self._drafts.begin(node, base)
                    return self._add_handle(node, access, draft, append=append)
            self._contents.let_go(base)
        raise refusal(errno.EAGAIN, node.name)

    def _join_draft(
        self, node: Node, access: Access, *, truncate: bool, append: bool
    ) -> Opened | None:
        draft = node.draft
        if draft is None:
            return None
        if truncate:
            draft.truncate(0)
            node.modified_ns = None
        return self._add_handle(node, access, draft, append=append)

    def _add_reader(self, node: Node, content: Content) -> Opened:
        versions = self.versions
        if versions is not None and content.noted is not versions:
            versions.note(content)
        handle = FileHandle(node, READ, append=False)
        handle.content = content
        keep = content.version is not None and node.kernel_version == content.version
        # An inode is cached by the kernel or backed by a file, never both.
        others_cache = bool(node.handles) and any(not other.backing for other in node.handles)
        cached = content.cached
        backing_fd = None if others_cache or node.edited or cached is None else cached.fd
        if backing_fd is None:
            direct = self._is_backed(node)
            backing = None if node.edited else content.backing
            opened = Opened(self._handles.add_file(handle), None, keep, direct, backing)
        else:
            handle.backing = self._contents.keep(content)
            number = self._handles.add_file(handle)
            opened = Opened(number, backing_fd, keep, False, content.backing)
            self.backed_opens += 1
        node.kernel_version = content.version
        self.opens += 1
        return opened

    def _add_handle(
        self, node: Node, access: Access, draft: Draft | None, *, append: bool
    ) -> Opened:
        handle = FileHandle(node, access, append=append)
        if draft and handle.may_write:
            draft.writers += 1
        direct = self._is_backed(node)
        self.opens += 1
        return Opened(self._handles.add_file(handle), keep_cache=True, direct=direct)

    def _is_backed(self, node: Node) -> bool:
        return any(other.backing is not None for other in node.handles)

    def _fresh_fact(self, node: Node) -> Fact | None:
        return node.fact if node.fresh_until > time.monotonic() else None

    def _file(self, inode: int) -> Node:
        table = self._tree.table
        node = table.at(inode)
        if node.kind is FOLDER:
            raise refusal(errno.EISDIR, node.name)
        if node.draft is None and table.is_gone(node):
            raise refusal(errno.ESTALE, node.name)
        return node

    def _refuse_gone(self, node: Node) -> None:
        """Whoever opens by number looks the name up again then; the file there may be another."""
        if self._tree.table.is_gone(node):
            raise refusal(errno.ESTALE, node.name)

    def _refuse_read_only(self) -> None:
        if self._tree.view.read_only:
            raise refusal(errno.EROFS)
