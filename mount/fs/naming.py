"""Names that come, go and change: unlink, folders, links, rename."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from datastores.errors import PreconditionFailed, Unsupported
from datastores.keys import is_below, join
from datastores.storage.contract import ABSENT as NOTHING_THERE
from mount.fs.contents import Contents
from mount.fs.contract import Entry, Kind, WouldWait
from mount.fs.drafts import Drafts
from mount.fs.facts import IS_LINK, Fact
from mount.fs.inodes import Node
from mount.fs.moves import Moves
from mount.fs.tree import Tree, refusal, refuse_long_name


class Naming:
    """Changes of the namespace; each claims the places it changes."""

    def __init__(self, tree: Tree, contents: Contents, drafts: Drafts, moves: Moves) -> None:
        self._tree = tree
        self._contents = contents
        self._drafts = drafts
        self._moves = moves
        # Around every rename that nothing stands against: somebody may note what it is about.
        self.moving: Callable[[int, str, int, str], AbstractContextManager[None]] = _unnoted

    def unlink(self, folder: int, name: str, *, wait: bool) -> None:
        self._refuse(wait=wait)
        with self._tree.turns.claim(lambda: self._places((folder, name))) as (key,):
            node = self._there(folder, name)
            if node.kind is Kind.FOLDER:
                raise refusal(errno.EISDIR, name)
            self.remove_file(node, key)

    def remove_file(self, node: Node, key: str) -> None:
        """Take a file away from the store and from its name; open ones keep what they need."""
        self._hold(node, key)
        if node.fact:
            self._tree.counters.add("requests")
            self._tree.store.delete(key)
        with self._tree.lock:
            self._take_name(node)
        self._drafts.release(node)

    def mkdir(self, folder: int, name: str, permissions: int, *, wait: bool) -> Entry:
        self._refuse(wait=wait)
        with self._tree.turns.claim(lambda: self._places((folder, name))) as (key,):
            if self._find(folder, name):
                raise refusal(errno.EEXIST, name)
            self._tree.must_fit(key)
            power = self._tree.store.folders
            if power:
                self._tree.counters.add("requests")
                power.make_folder(key)
            with self._tree.lock:
                node = self._tree.note_folder(
                    self._tree.table.folder(folder), name, kept=power is None
                )
                usual = self._tree.view.folder_permissions & ~self._tree.view.umask
                node.permissions = None if permissions == usual else permissions
                node.lookups += 1
                return self._tree.entry(node)

    def rmdir(self, folder: int, name: str, *, wait: bool) -> None:
        self._refuse(wait=wait)
        with self._tree.turns.claim(lambda: self._places((folder, name))) as (key,):
            node = self._there(folder, name)
            if node.kind is not Kind.FOLDER:
                raise refusal(errno.ENOTDIR, name)
            self._remove_folder(node, key)

    def symlink(self, folder: int, name: str, target: bytes, *, wait: bool) -> Entry:
        self._refuse(wait=wait)
        features = self._tree.store.features
        # Without metadata in listings a link would be a file at one look and a link at the next.
        if features.real_folders or not features.keeps_metadata:
            raise refusal(errno.ENOTSUP, name)
        with self._tree.turns.claim(lambda: self._places((folder, name))) as (key,):
            if self._find(folder, name):
                raise refusal(errno.EEXIST, name)
            self._tree.must_fit(key)
            self._tree.counters.add("requests")
            info = self._tree.store.write(
                key, target, only_if=NOTHING_THERE, metadata={IS_LINK: "true"}
            )
            with self._tree.lock:
                parent = self._tree.table.folder(folder)
                # What a write answers may lack the metadata that it was given.
                fact = Fact(Kind.LINK, info.size, info.version, info.modified_ns)
                node = self._tree.apply(parent, name, fact, self._tree.fresh_until())
                self._tree.note_stored(node, key)
                node.lookups += 1
                return self._tree.entry(node)

    def readlink(self, inode: int, *, wait: bool) -> bytes:
        with self._tree.lock:
            node = self._tree.table.at(inode)
            if node.kind is not Kind.LINK or node.fact is None:
                raise refusal(errno.EINVAL, node.name)
            key, fact = self._tree.table.key(node), node.fact
        content = self._contents.here(key, fact)
        if content is None:
            if not wait:
                raise WouldWait
            content, _ = self._contents.open(key, fact)
        try:
            return bytes(self._contents.read_exactly(content, 0, content.size))
        finally:
            self._contents.let_go(content)

    def rename(  # two names
        self, folder: int, name: str, new_folder: int, new_name: str, *, replace: bool, wait: bool
    ) -> None:
        self._refuse(wait=wait)
        ends = ((folder, name), (new_folder, new_name))
        with self._tree.turns.claim(lambda: self._places(*ends)) as (key, new_key):
            node = self._there(folder, name)
            target = self._find(new_folder, new_name)
            if target is node:
                return
            if target and not replace:
                raise refusal(errno.EEXIST, new_name)
            if node.kind is Kind.FOLDER and is_below(new_key, key):
                raise refusal(errno.EINVAL, new_name)
            self._tree.must_fit(new_key)
            if target:
                self._make_way(node, target, new_key)
            with self.moving(folder, name, new_folder, new_name):
                if node.kind is Kind.FOLDER:
                    self._moves.move_folder(node, key, new_folder, new_name, new_key)
                else:
                    self._moves.move_file(node, key, new_folder, new_name, new_key)

    def resume_rename(self, folder: int, name: str, new_folder: int, new_name: str) -> None:
        """Go on with what an earlier process had begun: all that could be refused was asked then."""
        ends = ((folder, name), (new_folder, new_name))
        with self._tree.turns.claim(lambda: self._places(*ends)) as (key, new_key):
            with self._tree.lock:
                node = self._tree.table.folder(folder).children.get(name)
                moved = self._tree.table.folder(new_folder).children.get(new_name)
            with self.moving(folder, name, new_folder, new_name):
                if node and node.kind is Kind.FOLDER:
                    self._moves.move_folder(node, key, new_folder, new_name, new_key)
                elif node:
                    self._moves.move_file(node, key, new_folder, new_name, new_key, is_begun=True)
                elif moved:
                    self._moves.follow(moved, key, new_key)
                else:
                    raise refusal(errno.ENOENT, name)

    def _make_way(self, node: Node, target: Node, new_key: str) -> None:
        """Check what stands under the new name, and take it away where the store would not."""
        is_folder = node.kind is Kind.FOLDER
        if is_folder != (target.kind is Kind.FOLDER):
            raise refusal(errno.ENOTDIR if is_folder else errno.EISDIR, target.name)
        if is_folder:
            self._remove_folder(target, new_key)
            return
        self._hold(target, new_key)

    def _hold(self, node: Node, key: str) -> None:
        """Bring a file here whose object will go, for those who have it open."""
        with self._drafts.using(node) as draft:
            if draft and node.handles:
                self._drafts.fill_claimed(node, draft, key)
        with self._tree.lock:
            kept = [
                self._contents.keep(handle.content) for handle in node.handles if handle.content
            ]
        for content in kept:
            try:
                self._contents.hold(content)
            except (OSError, PreconditionFailed):
                # Somebody else replaced it already: its reader hears of it, not who deletes it.
                self._tree.counters.add("stale_reads")
            finally:
                self._contents.let_go(content)

    def _remove_folder(self, node: Node, key: str) -> None:
        with self._tree.lock:
            if any(child.is_local for child in node.children.values()):
                raise refusal(errno.ENOTEMPTY, node.name)
        store = self._tree.store
        for page in store.list_folder(key):
            self._tree.counters.add("requests")
            if page.objects or page.folders:
                raise refusal(errno.ENOTEMPTY, node.name)
        if store.folders and not (node.kept and node.fact is None):
            self._tree.counters.add("requests")
            try:
                store.folders.remove_folder(key)
            except Unsupported as error:
                raise refusal(errno.ENOTEMPTY, node.name) from error
        with self._tree.lock:
            if any(child.is_local for child in node.children.values()):
                raise refusal(errno.ENOTEMPTY, node.name)
            for child in list(node.children.values()):
                self._tree.table.detach(child)
            self._tree.facts.drop_below(key)
            node.kept = False
            self._take_name(node)

    def _take_name(self, node: Node) -> None:
        """The name is free; lock held."""
        parent, name = node.parent, node.name
        assert parent
        # First the folder, so that it stays when its last file goes.
        self._tree.note_gone(parent, name)
        self._tree.table.detach(node)

    def _there(self, folder: int, name: str) -> Node:
        node = self._find(folder, name)
        if node is None:
            raise refusal(errno.ENOENT, name)
        return node

    def _find(self, folder: int, name: str) -> Node | None:
        """The node of a name, the store asked if need be."""
        with self._tree.lock:
            known = self._tree.known(self._tree.table.folder(folder), name)
        if known is None:
            self._tree.asking.ask(folder, name)
            with self._tree.lock:
                known = self._tree.known(self._tree.table.folder(folder), name, stale=True)
        return known if isinstance(known, Node) else None

    def _places(self, *ends: tuple[int, str]) -> Sequence[str]:
        places: list[str] = []
        for folder, name in ends:
            refuse_long_name(name)
            parent = self._tree.table.folder(folder)
            places.append(join(self._tree.table.key(parent), name))
        return places

    def _refuse(self, *, wait: bool) -> None:
        if self._tree.view.read_only:
            raise refusal(errno.EROFS)
        if not wait:
            raise WouldWait


def _unnoted(*_move: object) -> AbstractContextManager[None]:
    return nullcontext()
