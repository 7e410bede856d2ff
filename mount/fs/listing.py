"""Pages of a store's listing as names of a folder, in order."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from datastores.storage.contract import Page
from mount.fs.contract import Kind
from mount.fs.facts import FOLDER, Fact, fact_of

LONGEST_NAME = 255
# So many names in a row at the end of a page were looked at by somebody who comes in order.
TAIL = 3
NO_NAMES = frozenset(["", ".", ".."])


class Listed(NamedTuple):
    """What a page showed, and what was known when it was asked for."""

    children: list[tuple[str, Fact]]
    # The number of the mount's changes, and the time.
    since: int
    asked: float


def order(name: str, kind: Kind | None) -> str:
    """What a store sorts by: what is in a folder comes where its own key would end in a slash."""
    return name + "/" if kind is Kind.FOLDER else name


def names_in(page: Page, place: str) -> Sequence[tuple[str, Fact]]:
    """The children a page shows, in the order of their keys, wherever the page begins."""
    start = len(place) + 1 if place else 0
    files = [(info.key[start:], fact_of(info)) for info in page.objects]
    if not page.folders:
        return sorted(files, key=itemgetter(0))
    folders = [(key[start:], FOLDER) for key in page.folders]
    return sorted([*files, *folders], key=lambda child: order(child[0], child[1].kind))


def can_be_shown(name: str) -> bool:
    """Whether a name of the store can be a file's name."""
    if "/" in name or "\0" in name or name in NO_NAMES:
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
        files = self._files
        for child in children:
            name, fact = child
            if not can_be_shown(name):
                self.hidden += 1
                continue
            while files and not name.startswith(files[-1]):
                files.pop()
            if fact is not FOLDER:
                files.append(name)
            elif name in files:
                self.hidden += 1
                continue
            shown.append(child)
        return shown


class Walk:
    """A listing of one folder that goes on when somebody wants more of it; used by one at a time."""

    def __init__(self, pages: Iterator[Page], place: str, since: int) -> None:
        self._pages = pages
        self.place = place
        # What was known when the page that comes next was asked for, or before: the store's client
        # asks for it while the one before is read.
        self._since = since
        self._asked = time.monotonic()
        self._shadows = Shadows()
        self.listed = 0
        self.is_over = False
        # Whether each page went on behind the one before.
        self.is_ordered = True
        # The last names that it showed: whoever was told of these comes in order.
        self.tail: tuple[str, ...] = ()
        self._last = ""

    @property
    def is_resumable(self) -> bool:
        """Whether a page that did not come may be asked for again."""
        return bool(getattr(self._pages, "resumable", False))

    @property
    def hidden(self) -> int:
        """How many names were left out."""
        return self._shadows.hidden

    def next_page(self, changes: int) -> Listed:
        """The next names, none when it is over; `changes` is how many this mount has made by now."""
        page = None if self.is_over else next(self._pages, None)
        since, self._since = self._since, changes
        asked, self._asked = self._asked, time.monotonic()
        if page is None:
            self.is_over = True
            return Listed([], since, asked)
        children = list(self._shadows.visible(names_in(page, self.place)))
        if children:
            first, last = (order(name, fact.kind) for name, fact in (children[0], children[-1]))
            self.is_ordered = self.is_ordered and first >= self._last
            self._last = last
            self.tail = tuple(name for name, _ in children[-TAIL:])
        self.listed += len(children)
        return Listed(children, since, asked)
