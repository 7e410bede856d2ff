"""Copies that the service makes by itself."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from datastores.errors import Corrupted, Unavailable
from datastores.secret import Secret
from datastores.storage.contract import ObjectInfo, Patience
from datastores.storage.file_share.connection import Connection
from datastores.storage.file_share.failures import translated
from datastores.storage.file_share.naming import Naming
from datastores.storage.file_share.objects import info_of
from datastores.storage.file_share.place import Place
from datastores.storage.file_share.spelling import must_hold, temporary_beside

FIRST_LOOK_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0


class Copies:
    """Copying within a share and into it; each copy takes its name only when it is complete."""

    def __init__(
        self,
        connection: Connection,
        place: Place,
        naming: Naming,
        stat: Callable[[str], ObjectInfo],
        key: Secret | None,
        patience: Patience,
    ) -> None:
        self._connection, self._place, self._naming = connection, place, naming
        self._stat, self._key, self._patience = stat, key, patience

    def copy(self, key: str, new_key: str) -> ObjectInfo:
        return self.copy_from(self._connection.file(key).url, new_key, self._stat(key))

    def signed_url(self, key: str, lifetime_seconds: float) -> str | None:
        """Only an account key can sign; a SAS or a token cannot be narrowed."""
        from azure.storage.fileshare import generate_file_sas

        if self._key is None:
            return None
        must_hold(self._place.label, key)
        query = generate_file_sas(
            self._place.account,
            self._place.share,
            key.split("/"),
            account_key=self._key.reveal(),
            permission="r",
            expiry=datetime.now(UTC) + timedelta(seconds=lifetime_seconds),
        )
        path = urllib.parse.quote(f"{self._place.share}/{key}", safe="/~")
        return f"{self._place.account_url}/{path}?{query}"

    def copy_from(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:
        must_hold(self._place.label, key)
        self._naming.must_spell_folder(key)
        temporary = temporary_beside(key)

        def start() -> dict[str, Any]:
            with translated(self._place, key):
                return self._connection.file(temporary).start_copy_from_url(url)

        try:
            begun = self._naming.with_folder(key, start)
            self._wait(temporary, key, begun["copy_status"], source.size)
            self._naming.give(temporary, key, None)
        except BaseException:
            self._naming.discard(temporary)
            raise
        return self._stat(key)

    def _wait(self, temporary: str, key: str, status: str, size: int) -> None:
        """Look until the copy is complete, then compare its size with what was promised."""
        deadline = time.monotonic() + self._patience.total_seconds
        pause = FIRST_LOOK_SECONDS
        while status == "pending":
            if time.monotonic() + pause > deadline:
                raise Unavailable(
                    self._place.label,
                    key,
                    f"the copy took more than {self._patience.total_seconds:.0f} seconds; "
                    "copy through here or wait longer",
                )
            # The service has no event for this; the pause grows so that long copies cost little.
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            with translated(self._place, key):
                looked = self._connection.file(temporary).get_file_properties()
            status = str(looked.copy.status)
        if status != "success":
            raise Unavailable(self._place.label, key, f"the copy ended as {status}; try again")
        with translated(self._place, key):
            arrived = info_of(key, self._connection.file(temporary).get_file_properties())
        if arrived.size != size:
            raise Corrupted(
                self._place.label, key, f"{arrived.size} of {size} bytes were copied; try again"
            )
