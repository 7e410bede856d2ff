"""Pages of a store's listing as names of a folder, in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from datastores.storage.contract import Page
from mount.fs.facts import FOLDER, Fact, fact_of

LONGEST_NAME = 255


def names_in(page: Page, place: str) -> Sequence[tuple[str, Fact]]:
    """The children a page shows, by name; a file comes before a folder of the same name."""
    start = len(place) + 1 if place else 0
    files = [(info.key[start:], fact_of(info)) for info in page.objects]
    folders = [(key[start:], FOLDER) for key in page.folders]
    return sorted([*files, *folders], key=itemgetter(0))  # which keeps files before folders


def can_be_shown(name: str) -> bool:
    """Whether a name of the store can be a file's name."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    if name.isascii():
        return len(name) <= LONGEST_NAME
    try:
        return len(os.fsencode(name)) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False


class Shadows:
    """Drops the folder whose name a file has, too, without keeping all names.

    Keys come in order, so between `a` and `a/b` there are only keys that begin with `a`.
    """

    def __init__(self) -> None:
        self._files: list[str] = []
        self.hidden = 0

    def visible(self, children: Iterable[tuple[str, Fact]]) -> Sequence[tuple[str, Fact]]:
        shown: list[tuple[str, Fact]] = []
        for name, fact in children:
            if not can_be_shown(name):
                self.hidden += 1
                continue
            while self._files and not name.startswith(self._files[-1]):
                self._files.pop()
            if fact is FOLDER and name in self._files:
                self.hidden += 1
                continue
            if fact is not FOLDER:
                self._files.append(name)
            shown.append((name, fact))
        return shown


class Walk:
    """A listing of one folder that goes on when somebody wants more of it; used by one at a time."""

    def __init__(self, pages: Iterator[Page], place: str) -> None:
        self._pages = pages
        self._place = place
        self._shadows = Shadows()
        self.listed = 0
        self.is_over = False

    def next_page(self) -> list[tuple[str, Fact]]:
        """The next names; none when it is over."""
        page = None if self.is_over else next(self._pages, None)
        if page is None:
            self.is_over = True
            return []
        children = list(self._shadows.visible(names_in(page, self._place)))
        self.listed += len(children)
        return children
