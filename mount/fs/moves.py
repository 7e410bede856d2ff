"""Objects under new names: in the store, in the tree, and for those who have them open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from concurrent.futures import Executor, wait

from datastores.errors import NotFound, Unsupported
from datastores.keys import relative
from datastores.storage.contract import Folders, ObjectInfo
from datastores.storage.verbs import move
from mount.fs.contents import Content, Contents
from mount.fs.contract import Kind
from mount.fs.drafts import Drafts
from mount.fs.facts import fact_of
from mount.fs.inodes import Node
from mount.fs.tree import Tree, modified_by

# Copies side by side where the store cannot rename a folder.
MOVES_AT_ONCE = 16


class Moves:
    """Renames; whoever calls has claimed both places."""

    def __init__(self, tree: Tree, contents: Contents, drafts: Drafts, crew: Executor) -> None:
        self._tree = tree
        self._contents = contents
        self._drafts = drafts
        self._crew = crew

    def move_file(
        self,
        node: Node,
        key: str,
        folder: int,
        name: str,
        new_key: str,
        *,
        is_begun: bool = False,
    ) -> None:
        """Give a file its new name; what was never stored is stored under that name only.

        `is_begun`: an earlier process may have moved its object.
        """
        draft = node.draft
        if draft and draft.is_dirty and (node.fact or draft.sent or draft.sending):
            self._drafts.store_claimed(node, key)
        info = None
        if node.fact:
            info = self._move_object(key, new_key, is_begun=is_begun)
        with self._tree.lock:
            target = self._rename_node(node, key, folder, name, new_key)
            if info:
                self._note_moved(node, new_key, info)
                self._tree.note_stored(node, new_key)
            elif target and target.fact:
                # It stays in the store until this one is stored: whoever takes the name away
                # before that has to take the object, too.
                node.fact = target.fact
            if draft:
                draft.exclusive = False
        self._let_go(target)
        self._store_closed(node, new_key)

    def move_folder(self, node: Node, key: str, folder: int, name: str, new_key: str) -> None:
        """Give a folder its new name; without a power for it, file after file."""
        with self._tree.lock:
            below = _below(node)
        for child in below:
            if child.draft and child.draft.is_dirty and (child.fact or child.draft.sent):
                self._drafts.store_claimed(child, self._tree.table.key(child))
        try:
            self._move_objects(key, new_key)
        except BaseException:
            self._doubt(node, key, new_key)
            raise
        with self._tree.lock:
            target = self._rename_node(node, key, folder, name, new_key)
            self._tree.facts.drop_below(key)
            self._tree.facts.drop_below(new_key)
            self._tree.changed(key, new_key)
            for child in _below(node):
                child.fresh_until = 0.0
                self._follow(child, self._tree.table.key(child))
            if node.fact:
                node.fresh_until = self._tree.fresh_until()
        self._let_go(target)
        self._look_below(node, key, new_key)

    def follow(self, node: Node, key: str, new_key: str) -> None:
        """An earlier process moved it, and noted no more of that than its new name."""
        with self._tree.lock:
            node.fresh_until = 0.0
            if node.draft and node.kind is not Kind.FOLDER:
                node.draft.exclusive = False
        self._look_below(node, key, new_key)
        if node.draft and not node.fact:
            # What it took the place of goes with it, should it be taken away.
            self._tree.counters.add("requests")
            with contextlib.suppress(NotFound):
                fact = fact_of(self._tree.store.stat(new_key))
                with self._tree.lock:
                    node.fact = fact
        self._store_closed(node, new_key)

    def _store_closed(self, node: Node, key: str) -> None:
        """An upload failed when it was closed; under this name nobody will close it."""
        draft = node.draft
        if draft and draft.is_dirty and not draft.writers:
            self._drafts.store_claimed(node, key)
            self._drafts.release(node)

    def _look_below(self, node: Node, key: str, new_key: str) -> None:
        """What is being written goes on over the objects that were moved."""
        with self._tree.lock:
            written = [one for one in (node, *_below(node)) if one.draft]
        for one in written:
            self._look_again(one, key, new_key)

    def _move_object(self, key: str, new_key: str, *, is_begun: bool) -> ObjectInfo:
        store = self._tree.store
        self._tree.counters.add("requests", 3)
        try:
            move(store, key, new_key)
        except NotFound:
            if not is_begun:
                raise
        return store.stat(new_key)

    def _move_objects(self, key: str, new_key: str) -> None:
        store = self._tree.store
        if store.renaming:
            self._tree.counters.add("requests")
            try:
                store.renaming.rename(key, new_key)
            except NotFound:
                return  # only this mount knows the folder
            return
        for page in store.list(key + "/"):
            self._tree.counters.add("requests")
            self._move_page(page.objects, key, new_key)
        if store.folders:
            self._move_empty_folders(store.folders, key, new_key)

    def _move_empty_folders(self, folders: Folders, key: str, new_key: str) -> None:
        """Folders that exist by themselves; their files have moved already."""
        self._tree.counters.add("requests", 3)
        folders.make_folder(new_key)
        inside = [place for page in self._tree.store.list_folder(key) for place in page.folders]
        for place in inside:
            self._move_empty_folders(folders, place, f"{new_key}/{relative(place, key)}")
        with contextlib.suppress(Unsupported):  # somebody put a file there meanwhile: it stays
            folders.remove_folder(key)

    def _doubt(self, node: Node, key: str, new_key: str) -> None:
        """Some of a folder moved and some did not: only the store knows which."""
        with self._tree.lock:
            self._tree.facts.drop_below(key)
            self._tree.facts.drop_below(new_key)
            self._tree.changed(key, new_key)
            for one in (node, *_below(node)):
                one.fresh_until, one.names = 0.0, None

    def _move_page(self, objects: Iterable[ObjectInfo], key: str, new_key: str) -> None:
        store = self._tree.store
        moving = [
            self._crew.submit(move, store, info.key, f"{new_key}/{relative(info.key, key)}")
            for info in objects
            if not info.key.endswith("/")
        ]
        wait(moving)
        for one in moving:
            one.result()
        self._tree.counters.add("requests", 4 * len(moving))

    def _rename_node(
        self, node: Node, key: str, folder: int, name: str, new_key: str
    ) -> Node | None:
        parent = self._tree.table.folder(folder)
        target = parent.children.get(name)
        if target:
            target.pins += 1
            self._tree.table.detach(target)
        old_parent, old_name = node.parent, node.name
        assert old_parent
        self._tree.note_gone(old_parent, old_name)
        self._tree.table.move(node, parent, name)
        self._tree.changed(key, new_key)
        if parent.names is not None:
            parent.names.add(name)
        self._follow(node, new_key)
        return target

    def _let_go(self, target: Node | None) -> None:
        """What the new name stood for goes when nobody has it open."""
        if target:
            self._drafts.release(target)
            self._tree.unpin(target)

    def _follow(self, node: Node, new_key: str) -> None:
        for handle in node.handles:
            for content in (handle.content, handle.backing):
                if content and not handle.is_detached:
                    self._contents.moved(content, new_key)

    def _note_moved(self, node: Node, new_key: str, info: ObjectInfo) -> None:
        modified_ns = modified_by(node)
        fact = fact_of(info)
        if modified_ns is not None and info.modified_ns is None:
            node.modified_ns = modified_ns
        node.fact = fact
        node.kernel_version = info.version if node.kernel_version else None
        if node.draft and node.draft.base:
            node.draft.base = Content(new_key, info.version, info.size)

    def _look_again(self, node: Node, key: str, new_key: str) -> None:
        with self._tree.lock:
            draft = node.draft
            if draft is None or self._tree.table.is_gone(node):
                return
            base, here = draft.base, self._tree.table.key(node)
        if base.key != key + here.removeprefix(new_key) if base else not node.fact:
            return  # it is known to have moved, or was never stored
        self._tree.counters.add("requests")
        info = self._tree.store.stat(here)
        with self._tree.lock:
            self._note_moved(node, here, info)


def _below(node: Node) -> list[Node]:
    found: list[Node] = []
    for child in node.children.values():
        found.append(child)
        found += _below(child)
    return found
