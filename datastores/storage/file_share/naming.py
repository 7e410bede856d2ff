"""Folders made on the way, and names given in one step: what makes a write atomic here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from datastores import keys
from datastores.errors import (
    AlreadyExists,
    DatastoresError,
    NotFound,
    PermissionDenied,
    Unsupported,
)
from datastores.storage.contract import ABSENT, Presence
from datastores.storage.file_share.connection import Connection
from datastores.storage.file_share.failures import translated
from datastores.storage.file_share.listing import Listing
from datastores.storage.file_share.place import Place

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_REMEMBERED = 100_000


class Naming:
    """Names of one share.

    Whether folders exist is not remembered: a request that misses its folder is told so, makes
    it and is sent again, so folders that somebody removes are never a surprise.
    """

    def __init__(self, connection: Connection, place: Place) -> None:
        self._connection, self._place = connection, place
        self._listing = Listing(connection, place)
        # Folders known to have exactly these capitals. Any thread adds and looks; each is one step.
        self._spelled: set[str] = set()
        self._is_blind = False

    def with_folder(self, key: str, act: Callable[[], T]) -> T:
        """Do something to a key whose folder need not exist yet."""
        folder = keys.parent(key)
        for _ in range(3):
            try:
                return act()
            except NotFound as missing:
                if missing.key is None or not folder:
                    raise
            self._make_for(key, folder)
        return act()

    def make_folder(self, folder: str) -> None:
        """The folder and those above it; others may be making them at the same time."""
        missing = [folder] if folder else []
        # Down to the first that is there and up again; somebody who removes them ends it, too.
        for _ in range(2 * len(folder.split("/"))):
            if not missing:
                return
            if self._is_made(missing[-1]):
                missing.pop()
            else:
                missing.append(keys.parent(missing[-1]))
        if missing:
            self._make_one(folder)

    def _is_made(self, folder: str) -> bool:
        """Whether the folder is there now; False while the one above it is not.

        The failure ends here: as the context of those after it, every error of a deep path would
        be masked again at each level.
        """
        try:
            self._make_one(folder)
        except NotFound as missing:
            if missing.key is None or not keys.parent(folder):
                raise
            return False
        return True

    def give(self, temporary: str, key: str, only_if: str | Presence | None) -> Mapping[str, str]:
        """Let a finished file take its name in one step; the headers that tell its version.

        A name that is taken with other capitals is refused: replacing would lose another key.
        """
        try:
            return self.rename_file(temporary, key, replace=isinstance(only_if, str))
        except AlreadyExists:
            if only_if is ABSENT:
                raise
        self._must_be_spelled(key, key)
        return self.rename_file(temporary, key, replace=True)

    def must_spell_folder(self, key: str) -> None:
        """`AlreadyExists` when a folder above the key exists with other capitals.

        One request for each folder that was not seen yet.
        """
        above = ""
        for name in keys.parent(key).split("/"):
            above = keys.join(above, name)
            if above in self._spelled or not above:
                continue
            if not self._must_be_spelled(above, key):
                return
            self._remember(above)

    def rename_file(self, key: str, new_key: str, *, replace: bool) -> Mapping[str, str]:
        """Errors speak of the new key."""
        answers: list[Mapping[str, str]] = []
        with translated(self._place, new_key):
            self._connection.file(key).rename_file(
                new_key,
                overwrite=replace,
                raw_response_hook=lambda seen: answers.append(seen.http_response.headers),
            )
        return answers[-1]

    def discard(self, temporary: str) -> None:
        """Remove an unfinished file; what cannot be removed stays hidden and is logged."""
        try:
            with translated(self._place, temporary):
                self._connection.file(temporary).delete_file()
        except NotFound:
            return
        except DatastoresError as error:
            log.warning('unfinished upload "%s" is left behind: %s', temporary, error)

    def _make_for(self, key: str, folder: str) -> None:
        try:
            self.make_folder(folder)
        except (Unsupported, AlreadyExists) as error:
            raise type(error)(
                self._place.label, key, f'"{error.key}" above it is a file; choose another name'
            ) from error

    def _make_one(self, folder: str) -> None:
        try:
            with translated(self._place, folder):
                self._connection.folder(folder).create_directory()
        except AlreadyExists:
            return
        self._remember(folder)

    def _must_be_spelled(self, present: str, key: str) -> bool:
        """Whether there is something of this name; with other capitals it is refused."""
        try:
            found = self._listing.spelling(present)
        except PermissionDenied:
            # A credential that may write and not list still writes.
            self._warn_once()
            return False
        if found is not None and found != present:
            raise AlreadyExists(
                self._place.label,
                key,
                f'as "{found}", and file shares ignore capitals; use that spelling',
            )
        return found is not None

    def _warn_once(self) -> None:
        if not self._is_blind:
            self._is_blind = True
            log.warning(
                'the credential of "%s" may not list: a name that differs only in capitals will '
                "replace the other",
                self._place.label,
            )

    def _remember(self, folder: str) -> None:
        if len(self._spelled) >= MOST_REMEMBERED:
            self._spelled.clear()
        self._spelled.add(folder)
