"""Drafts from the first open for writing to the object in the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from datastores.errors import AlreadyExists, DatastoresError, PreconditionFailed
from mount.fs.contents import Content, Contents
from mount.fs.contract import WouldWait
from mount.fs.draft import Draft
from mount.fs.facts import Fact, fact_of
from mount.fs.inodes import Node
from mount.fs.spool import Spool, SpoolFile
from mount.fs.tree import Tree, modified_by
from mount.fs.upload import Uploads

log = logging.getLogger(__name__)


class Drafts:
    """Begins, stores and ends the drafts of nodes."""

    def __init__(self, tree: Tree, contents: Contents, uploads: Uploads, spool: Spool) -> None:
        self._tree = tree
        self._contents = contents
        self._uploads = uploads
        self._spool = spool
        # Drafts may be of a kind that a later process can go on with.
        self.make: Callable[[Node, SpoolFile, Content | None, bool], Draft] = _plain

    def begin(self, node: Node, base: Content | None, *, exclusive: bool = False) -> Draft:
        """A draft for a node without one; lock held. The base's user becomes the draft."""
        assert node.draft is None
        draft = self.make(node, self._spool.begin(), base, exclusive)
        version = base.version if base else None
        for handle in node.handles:
            read = handle.content or (handle.pin and handle.pin[1])
            if read and base and read.version != version:
                handle.is_detached = True
        node.draft = draft
        return draft

    @contextmanager
    def using(self, node: Node) -> Iterator[Draft | None]:
        """The node's draft, which does not go away meanwhile."""
        with self._tree.lock:
            draft = node.draft
            if draft:
                draft.users += 1
        try:
            yield draft
        finally:
            if draft:
                with self._tree.lock:
                    draft.users -= 1
                    is_last = draft.has_ended and not draft.users
                if is_last and not draft.is_abandoned:
                    self._discard(draft)

    def store(self, node: Node) -> None:
        """What was written is in the store when this returns; for a deleted file, nothing is."""
        with self._tree.lock:
            if node.draft is None or not node.draft.is_dirty:
                return
        with self._tree.turns.claim(lambda: self._place(node)) as places:
            if places:
                self.store_claimed(node, places[0])

    def store_claimed(self, node: Node, key: str) -> None:
        """The same, for one who has claimed the place."""
        with self.using(node) as draft:
            if draft is None or not draft.is_dirty:
                return
            with self._tree.lock:
                modified_ns = node.modified_ns or modified_by(node)
                was_there = draft.base is not None
            info, generation = self._uploads.send_draft(draft, key, modified_ns)
            with self._tree.lock:
                node.fact = replace(fact_of(info), kind=node.kind, modified_ns=modified_ns)
                node.edited = node.edited or was_there
                node.kernel_version = info.version
                if self._tree.store.features.keeps_metadata:
                    node.modified_ns = None
                self._tree.note_stored(node, key)
                # Last: who finds the draft clean takes the node's word, now and in a later process.
                draft.stored(generation, Content(key, info.version, info.size))
            self._uploads.settle(draft)

    def truncate(self, node: Node, draft: Draft, size: int) -> None:
        """Cut or extend; bytes that are no longer on the disk are stored first."""
        try:
            draft.truncate(size)
        except WouldWait:
            self.store(node)
            draft.truncate(size)

    def fill(self, node: Node, draft: Draft, start: int, end: int) -> None:
        """Bring a range into the spool file."""
        if draft.punched.touches(start, end):
            self.store(node)
        self._uploads.fill(draft, start, end)

    def fill_claimed(self, node: Node, draft: Draft, key: str) -> None:
        """Bring all of a file here before its object goes, for those who have it open."""
        if draft.punched:
            self.store_claimed(node, key)
        self._uploads.fill(draft, 0, draft.size)

    def release(self, node: Node) -> None:
        """A handle is closed: end the draft when nobody writes any more and the store has it."""
        with self._tree.lock:
            draft = node.draft
            if draft is None or draft.writers:
                return
            is_gone = self._tree.table.is_gone(node)
            if is_gone and node.handles:
                return
        if draft.is_dirty and not is_gone:
            try:
                # The kernel writes pages of a mapping after the last close.
                self.store(node)
            except (AlreadyExists, PreconditionFailed):
                # Theirs counts; trying again would fail again.
                self.abandon(node)
                return
            except (DatastoresError, OSError):
                log.exception("file could not be stored; its bytes stay in the spool")
                return
        self.end(node, draft)

    def end(self, node: Node, draft: Draft, *, drop: bool = False) -> None:
        """Let go of a draft that is stored, or of one that nobody can see any more."""
        with self._tree.lock:
            if draft.has_ended or node.draft is not draft:
                return
            is_gone = self._tree.table.is_gone(node)
            if not drop and (draft.writers or (draft.is_dirty and not is_gone)):
                return
            place = None if is_gone or drop else self._tree.table.key(node)
            draft.has_ended = True
            draft.users += 1
            node.draft = None
            loose = self._follow(node) if draft.generation else []
            fact = node.fact
            self._tree.settle(node)
        for content in loose:
            self._contents.let_go(content)
        if place is not None and fact:
            self._adopt(place, fact, draft)
            self._open_again(node, place, fact)
        with self._tree.lock:
            draft.users -= 1
            is_last = not draft.users
        if is_last:
            self._discard(draft)

    def abandon(self, node: Node) -> None:
        """Leave a draft that could not be stored to `recover`."""
        with self._tree.lock:
            draft = node.draft
            if draft is None:
                return
            draft.has_ended = draft.is_abandoned = True
            node.draft = None
            node.fresh_until = 0.0
            in_use = draft.users > 0
            self._tree.settle(node)
        log.warning("a file was not stored, its bytes are in %s", draft.file.path)
        # An upload that does not end still reads the file; it is closed with the process.
        if not in_use:
            draft.file.leave()
            if draft.opened_base:
                self._contents.let_go(draft.opened_base)

    def _follow(self, node: Node) -> list[Content]:
        """Readers of the file see what was written: their next read opens the new version."""
        loose: list[Content] = []
        for handle in node.handles:
            if not handle.is_detached:
                handle.pin = None
            if handle.content and not handle.is_detached:
                loose.append(handle.content)
                handle.content = None
        return loose

    def _open_again(self, node: Node, key: str, fact: Fact) -> None:
        """Readers get hold of the new version now: its name may be gone at their next read."""
        with self._tree.lock:
            waiting = [handle for handle in node.handles if handle.content is None]
        for handle in waiting:
            try:
                content, _ = self._contents.open(key, fact)
            except (DatastoresError, OSError) as error:
                log.warning("a reader could not follow the new version, it will ask: %s", error)
                return
            with self._tree.lock:
                fits = handle in node.handles and handle.content is None and not node.draft
                if fits:
                    handle.content = content
            if not fits:
                self._contents.let_go(content)

    def _adopt(self, key: str, fact: Fact, draft: Draft) -> None:
        """Put a stored file into the cache, so that reading it back needs no request."""
        is_new = draft.generation > 0 and fact.version is not None and draft.size > 0
        if is_new and draft.is_whole and fact.size == draft.size:
            assert fact.version
            self._contents.adopt(key, fact.version, fact.size, str(draft.file.path))

    def _discard(self, draft: Draft) -> None:
        draft.file.discard()
        if draft.opened_base:
            self._contents.let_go(draft.opened_base)

    def _place(self, node: Node) -> tuple[str, ...]:
        return () if self._tree.table.is_gone(node) else (self._tree.table.key(node),)


def _plain(_node: Node, file: SpoolFile, base: Content | None, exclusive: bool) -> Draft:
    return Draft(file, base, exclusive=exclusive)
