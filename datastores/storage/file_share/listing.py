"""Folders of a share, page by page, and the walk through all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from datastores import keys
from datastores.errors import NotFound
from datastores.storage.contract import ObjectInfo, Page
from datastores.storage.file_share.connection import Connection
from datastores.storage.file_share.failures import translated
from datastores.storage.file_share.objects import info_of
from datastores.storage.file_share.place import Place
from datastores.storage.file_share.spelling import (
    TEMPORARY_START,
    can_begin,
    is_temporary,
    unholdable,
)

LARGEST_PAGE = 1000


class Listing:
    """What is in the folders of one share. Unfinished uploads are not shown."""

    def __init__(self, connection: Connection, place: Place) -> None:
        self._connection, self._place = connection, place

    def folder(self, folder: str) -> Iterator[Page]:
        """Objects and folders directly below, in the order of their names within a page."""
        if folder and unholdable(folder):
            return
        for entries in self._entries(folder, ""):
            yield Page(
                objects=[info_of(key, entry) for key, entry in entries if not entry.is_directory],
                folders=[key for key, entry in entries if entry.is_directory],
            )

    def tree(self, prefix: str) -> Iterator[Page]:
        """Every file whose key starts with the text, depth first in the order of names.

        Only folders that can hold such keys are asked for, one page at a time.
        """
        if not can_begin(prefix):
            return
        batch: list[ObjectInfo] = []
        for found in self._walk(keys.parent(prefix), keys.basename(prefix)):
            if found is not None:
                batch.append(found)
            # What is known goes out before the next request is waited for.
            if batch and (found is None or len(batch) >= LARGEST_PAGE):
                yield Page(objects=batch)
                batch = []
        if batch:
            yield Page(objects=batch)

    def spelling(self, key: str) -> str | None:
        """The key of the file or folder that the service takes this for: it ignores capitals."""
        for entries in self._entries(keys.parent(key), keys.basename(key), exact=False):
            for found, _ in entries:
                if found.upper() == key.upper():
                    return found
        return None

    def _walk(self, folder: str, start: str) -> Iterator[ObjectInfo | None]:
        """Files in order; None stands before each request."""
        yield None
        for entries in self._entries(folder, start):
            for key, entry in entries:
                if entry.is_directory:
                    yield from self._walk(key, "")
                else:
                    yield info_of(key, entry)
            yield None

    def unfinished(self, folder: str) -> Iterator[ObjectInfo]:
        """The hidden files of uploads in a folder, whether somebody is still at them or not."""
        for entries in self._pages(folder, TEMPORARY_START):
            for entry in entries:
                if is_temporary(entry.name):
                    yield info_of(keys.join(folder, entry.name), entry)

    def _entries(
        self, folder: str, start: str, *, exact: bool = True
    ) -> Iterator[list[tuple[str, Any]]]:
        """Visible entries whose names start with the text, by key."""
        for entries in self._pages(folder, start):
            # The client library puts folders first.
            yield sorted(
                (keys.join(folder, entry.name), entry)
                for entry in entries
                # The service compares without capitals.
                if (entry.name.startswith(start) or not exact) and not is_temporary(entry.name)
            )

    def _pages(self, folder: str, start: str) -> Iterator[Sequence[Any]]:
        """What the service lists; nothing for what is no folder."""
        client = self._connection.folder(folder)
        pages = client.list_directories_and_files(
            name_starts_with=start or None,
            include=["timestamps", "Etag"],
            include_extended_info=True,
        ).by_page()
        while True:
            try:
                with translated(self._place, folder or None, looking=True):
                    page = next(pages, None)
                    entries = None if page is None else list(page)
            except NotFound as missing:
                if missing.key is None:
                    raise
                return
            if entries is None:
                return
            yield entries
