"""Copies that the service makes by itself."""

from __future__ import annotations

import contextlib
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from datastores.credentials.kinds import AccountKey, Anonymous, Credential, Sas
from datastores.credentials.signing import (
    Extent,
    Grant,
    delegation_key,
    signed_with_delegation,
    signed_with_key,
)
from datastores.definitions.azure_storage import BlobContainer, DataLakeGen2
from datastores.errors import (
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from datastores.storage.blob.blocks import BlobStaging
from datastores.storage.blob.headers import info_from
from datastores.storage.blob.spelling import must_hold, unholdable
from datastores.storage.blob.wire import Response, Wire
from datastores.storage.contract import ObjectInfo, Patience
from datastores.storage.retrying import patiently

if TYPE_CHECKING:
    from azure.storage.blob import UserDelegationKey

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 5.0
# The most that the service copies while its caller waits for the answer.
_LARGEST_IN_ONE_STEP = 256 * 1024 * 1024
# The most that the service fetches for one block, and how many of those it is asked for at once.
_FETCHED_BLOCK = 100 * 1024 * 1024
_FETCHED_AT_ONCE = 8
_KEY_IS_KEPT = timedelta(hours=1)
_CLOCK_SKEW = timedelta(minutes=5)


class BlobCopying:
    """Copies by the service, waited for.

    A block blob of another account is copied in one step up to 256 MiB, everything else in blocks
    that the service fetches.
    """

    def __init__(
        self,
        wire: Wire,
        staging: BlobStaging,
        definition: BlobContainer | DataLakeGen2,
        credential: Credential,
        patience: Patience,
    ) -> None:
        self._wire = wire
        self._staging = staging
        self._definition = definition
        self._credential = credential
        self._patience = patience
        self._delegation: tuple[datetime, UserDelegationKey] | None = None

    def copy(self, key: str, new_key: str) -> ObjectInfo:
        """Copy inside this container."""
        place = self._wire.place
        source = self._stat(key)
        must_hold(place.label, new_key)
        headers = {
            "x-ms-copy-source": self._wire.signed(key),
            **_pinned(source),
        }
        started = self._wire.ask("PUT", new_key, headers=headers)
        return self._finished(new_key, started)

    def copy_from(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:
        """Copy from an address that needs no credential of ours."""
        place = self._wire.place
        must_hold(place.label, key)
        try:
            if source.size <= _LARGEST_IN_ONE_STEP:
                with contextlib.suppress(Unsupported):
                    return self._in_one_step(url, key, source)
            return self._in_blocks(url, key, source)
        except (NotFound, PermissionDenied) as error:
            if isinstance(error, NotFound) and "container" in error.detail:
                raise
            raise Unsupported(
                place.label, key, "the service cannot read the source; send the bytes instead"
            ) from error

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
            signature = signed_with_delegation(grant, self._key_for(grant))
        return f"{place.url(key)}?{signature.token.reveal()}"

    def _key_for(self, grant: Grant) -> UserDelegationKey:
        # One request for each hour and not for each object. Two threads may make it at once.
        if self._delegation is None or self._delegation[0] < grant.ends:
            ends = grant.ends + _KEY_IS_KEPT
            key = delegation_key(replace(grant, ends=ends), self._credential)
            self._delegation = (ends, key)
        return self._delegation[1]

    def _stat(self, key: str) -> ObjectInfo:
        reason = unholdable(key)
        if reason:
            raise NotFound(self._wire.place.label, key, reason)
        return info_from(key, self._wire.ask("HEAD", key).headers)

    def _in_one_step(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:
        headers = {"x-ms-copy-source": url, "x-ms-requires-sync": "true", **_pinned(source)}
        made = self._finished(key, self._wire.ask("PUT", key, headers=headers))
        if made.size != source.size:
            raise PreconditionFailed(
                self._wire.place.label,
                key,
                f"its source has {made.size} bytes by now instead of {source.size}; "
                "list the source again",
            )
        return made

    def _in_blocks(self, url: str, key: str, source: ObjectInfo) -> ObjectInfo:
        # Two writers of one key must not commit each other's blocks.
        writer = uuid.uuid4().hex
        starts = range(0, source.size, _FETCHED_BLOCK)
        ids = [f"{writer}-{number:06d}" for number in range(len(starts))]

        def fetch(block_id: str, start: int) -> None:
            length = min(_FETCHED_BLOCK, source.size - start)
            patiently(
                "copy_from",
                key,
                self._patience,
                lambda: self._staging.stage_from(key, block_id, url, start, length, source.version),
            )

        with ThreadPoolExecutor(_FETCHED_AT_ONCE, "datastores-copy") as pool:
            for fetched in [pool.submit(fetch, *one) for one in zip(ids, starts, strict=True)]:
                fetched.result()
        return self._staging.commit_known(
            key, ids, source.size, only_if=None, metadata=source.metadata
        )

    def _finished(self, key: str, answer: Response) -> ObjectInfo:
        """The finished copy; `Unavailable` when it failed, or stood still for too long.

        A look that fails is repeated: a copy that is begun again is refused while this one runs.
        """
        copy_id = answer.headers.get("x-ms-copy-id", "")
        # Azure documents the id of looks at copies in the background alone; one that is complete
        # at once has its last version from the start.
        told = "etag" if answer.headers.get("x-ms-copy-status") == "success" else "x-ms-copy-id"
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


def _pinned(source: ObjectInfo) -> dict[str, str]:
    return {} if source.version is None else {"x-ms-source-if-match": f'"{source.version}"'}
