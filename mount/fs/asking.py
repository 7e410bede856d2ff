"""How the store is asked for names: one by one, and page by page where that is worth it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from datastores.errors import NotFound
from datastores.keys import join
from datastores.keys import parent as parent_of
from mount.fs.facts import ABSENT, FOLDER, Fact, fact_of
from mount.fs.listing import TAIL, Walk

if TYPE_CHECKING:
    from mount.fs.inodes import Node
    from mount.fs.tree import Tree

# So many names are asked for one by one before the folder is listed instead.
SINGLE_QUESTIONS = 2
# So many more for each further page of a large folder: one page takes as much of the processor as
# these questions, so whoever needs a few names only loses twice that at most. 100,000 files looked
# at by name were 100,000 questions, and 68 s.
QUESTIONS_A_PAGE = 256
ATTEMPTS = 3


class Asking:
    """Asks the store about names of a tree, and notes the answers there."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def ask(self, folder: int, name: str) -> bool:
        """Ask the store about a name and note the answer; False when it kept changing meanwhile."""
        tree = self._tree
        for _ in range(ATTEMPTS):
            with tree.lock:
                parent = tree.table.folder(folder)
                place = tree.table.key(parent)
                since = tree.changes.count
                parent.asked += 1
                lists = parent.names is None and (
                    self._is_worth_a_page(parent) or self._comes_in_order(parent)
                )
            with tree.counters.blocked():
                if lists and self._ask_for_more(folder, place, since, name):
                    return True
                fact = self._resolve(join(place, name))
            with tree.lock:
                if tree.changes.touched(join(place, name), since):
                    continue
                tree.note(tree.table.folder(folder), name, fact)
                return True
        return False

    def _resolve(self, key: str) -> Fact:
        """What is under a key, by asking the store."""
        tree = self._tree
        tree.counters.add("requests")
        try:
            return fact_of(tree.store.stat(key))
        except NotFound as missing:
            if missing.key is None:
                raise
        if tree.store.features.real_folders:
            return self._find_in_parent(key)
        tree.counters.add("requests")
        page = next(iter(tree.store.list(key + "/")), None)
        if page and page.objects:
            return FOLDER
        return self._find_marker(key) if tree.store.folders else ABSENT

    def _is_worth_a_page(self, parent: Node) -> bool:
        """Whether so many names were asked for that listing goes on; lock held."""
        since = parent.asked - SINGLE_QUESTIONS - 1
        if since <= 0:
            return since == 0
        may = parent.pages is not None or parent.names_until <= time.monotonic()
        return may and since % QUESTIONS_A_PAGE == 0

    def _comes_in_order(self, parent: Node) -> bool:
        """Whether the last names that were listed have been looked at; lock held.

        A page for whoever takes the names as they come, instead of QUESTIONS_A_PAGE questions. In
        no order so many names at the end of a page are known when most of the folder is.
        """
        if parent.pages is None or len(parent.pages.tail) < TAIL:
            return False
        return all(name in parent.children for name in parent.pages.tail)

    def _ask_for_more(self, folder: int, place: str, since: int, name: str) -> bool:
        """List on in a folder that is asked for name after name; whether the name is known now."""
        tree = self._tree
        with tree.lock:
            parent = tree.table.folder(folder)
            # Nobody else goes on with it meanwhile.
            walk, parent.pages = parent.pages, None
        walk = walk or Walk(iter(tree.store.list_folder(place)), place, since)
        is_first = not walk.listed
        listed = walk.next_page(since)
        tree.counters.add("requests")
        if is_first:
            # A page of its own is all that most folders have.
            listed.children.extend(walk.next_page(since).children)
            tree.counters.add("requests")
        with tree.lock:
            parent = tree.table.folder(folder)
            tree.take(parent, place, listed)
            if not walk.is_over and walk.listed < tree.view.facts:
                parent.pages = walk
            parent.names_until = time.monotonic() + tree.view.attribute_seconds
            key = join(place, name)
            if tree.changes.touched(key, listed.since):
                return False
            is_all = is_first and walk.is_over
            if is_all:
                names = [child for child, _ in listed.children]
                tree.complete(parent, names, listed.since, listed.asked)
            fact = next((fact for child, fact in listed.children if child == name), None)
            if fact is not None:
                # Whoever asked for a name takes it next, however short its lifetime.
                tree.facts.drop(key)
                tree.apply(parent, name, fact, listed.asked + tree.view.attribute_seconds)
            elif is_all:
                tree.note(parent, name, ABSENT)
            return is_all or fact is not None

    def _find_in_parent(self, key: str) -> Fact:
        place, _, _ = key.rpartition("/")
        for page in self._tree.store.list_folder(place):
            self._tree.counters.add("requests")
            if key in page.folders:
                return FOLDER
        return ABSENT

    def _find_marker(self, key: str) -> Fact:
        """An empty folder shows in its parent's listing only, of which one page has to do."""
        self._tree.counters.add("requests")
        page = next(iter(self._tree.store.list_folder(parent_of(key))), None)
        return FOLDER if page and key in page.folders else ABSENT
