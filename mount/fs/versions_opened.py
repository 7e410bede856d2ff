"""Which versions of which objects were opened for reading, noted once each.

A version that is opened again costs a comparison, since whoever has it open remembers that it is
noted. One that comes back after a while costs a look into a table and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mount.fs.seen import Seen
from mount.fs.version_pages import Page, last_page

if TYPE_CHECKING:
    from mount.fs.contents import Content

log = logging.getLogger(__name__)


class VersionsOpened:
    """Notes into the pages of a folder, a section of their own; used under the file system's lock.

    A line is `["name",size,"version"]`, the name below the mount's root. Memory is that of the
    table, some 20 bytes a line; the folder takes as much again.
    """

    def __init__(
        self, folder: Path, place: str, later: Callable[[Callable[[], None]], object]
    ) -> None:
        self._folder = folder
        self._skip = len(place) + 1 if place else 0
        self._later = later
        self._seen = Seen()
        self._page: Page | None = None
        self._number = 0
        # Pages that other processes or sections wrote come before it.
        self.section = 0

    @classmethod
    def begin(cls, folder: Path, place: str, later: Callable[[Callable[[], None]], object]) -> Self:
        """An empty section after those that are here; full pages are compressed by `later`.

        `OSError` where nothing can be noted.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = cls(folder, place, later)
        section, made._number = last_page(folder)
        made.section = section + 1
        made._page = made._next_page()
        return made

    def note(self, content: Content) -> None:
        """A version is opened."""
        content.noted = self
        key, size, version = content.key, content.size, content.version
        if not self._seen.adds(hash((key, size, version))) or self._page is None:
            return
        # As an encoder would write it, in a third of the time.
        named = "null" if version is None else encode_basestring_ascii(version)
        line = f"[{encode_basestring_ascii(key[self._skip :])},{size},{named}]".encode()
        if not self._page.add(line):
            self._turn()
            if self._page is not None:
                self._page.add(line)

    def close(self) -> None:
        """Compress what is left; nothing is noted any more."""
        page, self._page = self._page, None
        if page is not None:
            _close(page)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory besides the page."""
        return self._seen.size_bytes

    def _turn(self) -> None:
        full = self._page
        assert full is not None
        try:
            self._page = self._next_page()
        except OSError as error:
            log.warning("versions are not noted any more: %s", error)
            self._page = None
            full.add_gap()
        try:
            self._later(lambda: _close(full))
        except RuntimeError:
            # The mount is ending, and its crew with it: pages are read as they are, too.
            log.debug("a page stays as it is")

    def _next_page(self) -> Page:
        self._number += 1
        return Page.make(self._folder, self.section, self._number)


def _close(page: Page) -> None:
    try:
        page.close()
    except OSError as error:
        log.warning("a page of versions stays as it is: %s", error)
