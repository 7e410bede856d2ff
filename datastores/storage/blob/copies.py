"""Copies that the service makes by itself."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from datastores.credentials.kinds import AccountKey, Anonymous, Credential, Sas
from datastores.credentials.signing import Extent, Grant, signed_by_identity, signed_with_key
from datastores.definitions.azure_storage import BlobContainer, DataLakeGen2
from datastores.errors import (
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from datastores.storage.blob.headers import info_from
from datastores.storage.blob.spelling import must_hold, unholdable
from datastores.storage.blob.wire import Response, Wire
from datastores.storage.contract import ObjectInfo, Patience

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0
# The most that the service copies while its caller waits for the answer.
_LARGEST_IN_ONE_STEP = 256 * 1024 * 1024
_CLOCK_SKEW = timedelta(minutes=5)


class BlobCopying:
    """Copies by the service, waited for.

    A copy from another account takes its name in one step up to 256 MiB, when its source is a
    block blob. Others the service makes in the background: until they are complete, an empty object
    stands under the new name.
    """

    def __init__(
        self,
        wire: Wire,
        definition: BlobContainer | DataLakeGen2,
        credential: Credential,
        patience: Patience,
    ) -> None:
        self._wire = wire
        self._definition = definition
        self._credential = credential
        self._patience = patience

    def copy(self, key: str, new_key: str) -> ObjectInfo:
        """Copy inside this container."""
        place = self._wire.place
        source = self._stat(key)
        must_hold(place.label, new_key)
        headers = {
            "x-ms-copy-source": self._wire.signed(key),
            "x-ms-source-if-match": f'"{source.version}"',
        }
        started = self._wire.ask("PUT", new_key, headers=headers)
        return self._finished(new_key, started)

    def copy_from(self, url: str, key: str, size: int) -> ObjectInfo:
        """Copy from an address that needs no credential of ours."""
        place = self._wire.place
        must_hold(place.label, key)
        try:
            started = self._begun(url, key, size)
        except (NotFound, PermissionDenied) as error:
            if isinstance(error, NotFound) and "container" in error.detail:
                raise
            raise Unsupported(
                place.label, key, "the service cannot read the source; send the bytes instead"
            ) from error
        made = self._finished(key, started)
        if made.size != size:
            raise PreconditionFailed(
                place.label,
                key,
                f"its source has {made.size} bytes by now instead of {size}; list the source again",
            )
        return made

    def signed_url(self, key: str, lifetime_seconds: float) -> str | None:
        """An address for reading; with a SAS of the user's, that SAS, whatever its end is."""
        place = self._wire.place
        must_hold(place.label, key)
        if isinstance(self._credential, Anonymous):
            return place.url(key)
        if isinstance(self._credential, Sas):
            return self._wire.signed(key)
        now = datetime.now(UTC)
        grant = Grant(
            self._definition,
            Extent.FILE,
            key,
            permission="r",
            starts=now - _CLOCK_SKEW,
            ends=now + timedelta(seconds=lifetime_seconds),
        )
        if isinstance(self._credential, AccountKey):
            signature = signed_with_key(grant, self._credential)
        else:
            signature = signed_by_identity(grant, self._credential)
        return f"{place.url(key)}?{signature.token.reveal()}"

    def _stat(self, key: str) -> ObjectInfo:
        reason = unholdable(key)
        if reason:
            raise NotFound(self._wire.place.label, key, reason)
        return info_from(key, self._wire.ask("HEAD", key).headers)

    def _begun(self, url: str, key: str, size: int) -> Response:
        source = {"x-ms-copy-source": url}
        if size <= _LARGEST_IN_ONE_STEP:
            with contextlib.suppress(Unsupported):
                return self._wire.ask("PUT", key, headers={**source, "x-ms-requires-sync": "true"})
        return self._wire.ask("PUT", key, headers=source)

    def _finished(self, key: str, answer: Response) -> ObjectInfo:
        """The finished copy; `Unavailable` when it failed, or stood still for too long.

        A look that fails is repeated: a copy that is begun again is refused while this one runs.
        """
        copy_id = answer.headers.get("x-ms-copy-id", "")
        # Azure documents the id of looks at copies in the background alone; one that is complete
        # at once has its last version from the start.
        told = "ETag" if answer.headers.get("x-ms-copy-status") == "success" else "x-ms-copy-id"
        ours = answer.headers.get(told)
        progress = ""
        pause = _FIRST_PAUSE_SECONDS
        deadline = time.monotonic() + self._patience.read_seconds
        while True:
            try:
                answer = self._wire.ask("HEAD", key)
            except Unavailable as error:
                if time.monotonic() >= deadline:
                    raise
                pause = max(pause, error.retry_after_seconds or 0.0)
                pause = self._paused(min(pause, max(0.0, deadline - time.monotonic())))
                continue
            if answer.headers.get(told) != ours:
                raise PreconditionFailed(
                    self._wire.place.label, key, "it was written while it was copied; look again"
                )
            status = answer.headers.get("x-ms-copy-status", "success")
            if status == "success":
                return info_from(key, answer.headers)
            if status != "pending":
                self._give_up(key, f"the service gave up the copy ({status})")
            if answer.headers.get("x-ms-copy-progress", "") != progress:
                progress = answer.headers["x-ms-copy-progress"]
                deadline = time.monotonic() + self._patience.read_seconds
            if time.monotonic() >= deadline:
                self._wire.ask(
                    "PUT",
                    key,
                    query={"comp": "copy", "copyid": copy_id},
                    headers={"x-ms-copy-action": "abort"},
                )
                self._give_up(key, f"the copy stood still at {progress or 'its start'}")
            pause = self._paused(pause)

    def _paused(self, pause: float) -> float:
        # The service has no event for this; the pause grows so that long copies cost little.
        time.sleep(pause)
        return min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _give_up(self, key: str, reason: str) -> NoReturn:
        raise Unavailable(self._wire.place.label, key, f"{reason}; copy it again")
