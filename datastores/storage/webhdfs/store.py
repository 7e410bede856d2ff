"""A Gen1 store, or a server that speaks its dialect, as a store of files.

Folders are real. A write is an upload under a hidden name and a rename over the old file.
"""

from __future__ import annotations

import logging
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from datastores import keys
from datastores.credentials.forms import ENTRA_KINDS
from datastores.credentials.kinds import Anonymous, Credential
from datastores.credentials.tokens import bearer
from datastores.definitions.data_lake_gen1 import DataLakeGen1
from datastores.errors import (
    AlreadyExists,
    CredentialRefused,
    DatastoresError,
    NotFound,
    PreconditionFailed,
    Unsupported,
)
from datastores.secret import Secret
from datastores.storage.contract import (
    ABSENT,
    Features,
    ObjectInfo,
    ObjectStream,
    Page,
    Patience,
    Presence,
    Store,
)
from datastores.storage.forks import renewed
from datastores.storage.verbs import pieces
from datastores.storage.webhdfs.client import Client, Status
from datastores.storage.webhdfs.retired import RetiredStore
from datastores.storage.webhdfs.spelling import (
    LONGEST_KEY,
    is_stale,
    is_temporary,
    must_hold,
    temporary_beside,
    unholdable,
)
from datastores.storage.webhdfs.stream import Gen1Stream

if TYPE_CHECKING:
    from datastores.storage.contract import Body

log = logging.getLogger(__name__)

SCOPE = "https://datalake.azure.net/.default"

# The most that the service promised to append as one step.
CHUNK_BYTES = 4 * 1024 * 1024
LARGEST_PAGE = 1000

# `ABSENT` is judged by the server. A version is compared one round trip before the rename.
FEATURES = Features(
    real_folders=True, atomic_conditions=False, keeps_metadata=False, longest_key=LONGEST_KEY
)


def open_gen1(definition: DataLakeGen1, credential: Credential, patience: Patience) -> Store:
    """The store; the retired service itself opens as one that says so at every use."""
    label = str(definition.name)
    if definition.is_retired_service:
        return RetiredStore(label, definition.url)
    token = _token(definition, credential)
    return Gen1Store(definition.url, renewed(Client(label, definition.url, token, patience)))


def _token(definition: DataLakeGen1, credential: Credential) -> Callable[[], Secret] | None:
    label = str(definition.name)
    if isinstance(credential, Anonymous):
        return None
    if not isinstance(credential, ENTRA_KINDS):
        raise CredentialRefused(
            label,
            f'Gen1 takes tokens and no credential of kind "{credential.kind}"; '
            "register a service principal or an identity",
        )
    parts = urllib.parse.urlsplit(definition.url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise CredentialRefused(label, "tokens travel over https only; use an https address")
    return bearer(credential, SCOPE, store=label)


class Gen1Store:
    """One store; also its own power of renaming and of folders."""

    staging = None
    copying = None

    def __init__(self, url: str, client: Client) -> None:
        self._url, self._client = url, client

    @property
    def label(self) -> str:
        return self._client.label

    @property
    def identity(self) -> str:
        return "azure-gen1://" + self._url.partition("://")[2]

    @property
    def features(self) -> Features:
        return FEATURES

    @property
    def renaming(self) -> Gen1Store:
        return self

    @property
    def folders(self) -> Gen1Store:
        return self

    def stat(self, key: str) -> ObjectInfo:
        must_hold(self.label, key)
        status = self._client.status(key)
        if status.is_folder:
            raise NotFound(self.label, key)
        return status.as_object(key)

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        info = self.stat(key)
        if version is not None and info.version != version:
            raise PreconditionFailed(self.label, key, "read it again")
        stop = info.size if length is None else min(info.size, start + length)
        return Gen1Stream(self._client, info, start, stop)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002 - there is no place for it here
    ) -> ObjectInfo:
        must_hold(self.label, key)
        self._judge(key, only_if)
        temporary = temporary_beside(key)
        try:
            written = self._send(key, temporary, body)
            self._judge(key, only_if)
            self._give(temporary, key, only_if)
        except BaseException:
            self._discard(temporary)
            raise
        return written.as_object(key)

    def delete(self, key: str) -> None:
        must_hold(self.label, key)
        # The server would remove an empty folder of this name, too.
        found = self._look(key)
        if found and not found.is_folder:
            self._client.delete(key)

    def list(self, prefix: str = "") -> Iterator[Page]:
        folder = keys.parent(prefix)
        if (folder and unholdable(folder)) or prefix.startswith("/"):
            return
        batch: list[ObjectInfo] = []
        for found in self._walk(folder, keys.basename(prefix)):
            if found is not None:
                batch.append(found)
            # What is known goes out before the next request is waited for.
            if batch and (found is None or len(batch) >= LARGEST_PAGE):
                yield Page(objects=batch)
                batch = []
        if batch:
            yield Page(objects=batch)

    def list_folder(self, place: str = "") -> Iterator[Page]:
        if place and unholdable(place):
            return
        for entries in self._entries(place):
            yield Page(
                objects=[status.as_object(key) for key, status in entries if not status.is_folder],
                folders=[key for key, status in entries if status.is_folder],
            )

    def check(self, *, create: bool = False) -> None:  # noqa: ARG002 - accounts are not made here
        """A Gen1 store is an account and cannot be made from here."""
        next(self._client.entries(""), None)

    def close(self) -> None:
        self._client.close()

    def rename(self, key: str, new_key: str) -> None:
        must_hold(self.label, key)
        must_hold(self.label, new_key)
        if key != new_key and keys.is_below(new_key, key):
            raise Unsupported(self.label, key, "a folder cannot move into itself; name another")
        is_folder = self._client.status(key).is_folder
        if key == new_key:
            return
        self._make_above(new_key)
        if not self._client.rename(key, new_key, replace=not is_folder):
            raise AlreadyExists(self.label, new_key, "choose another name")

    def make_folder(self, place: str) -> None:
        must_hold(self.label, place)
        self._client.make_folder(place)

    def remove_folder(self, place: str) -> None:
        must_hold(self.label, place)
        found = self._look(place)
        if not found or not found.is_folder:
            return
        try:
            self._client.delete(place)
        except Unsupported:
            # What a crashed writer left is not to be seen, so nobody else can remove it.
            stale = self._stale(place)
            if not stale:
                raise
            for left in stale:
                self._discard(left)
            self._client.delete(place)

    def _judge(self, key: str, only_if: str | Presence | None) -> None:
        """Look whether a condition holds now."""
        if only_if is None:
            return
        found = self._look(key)
        if only_if is ABSENT:
            if found:
                raise AlreadyExists(self.label, key, "it was to be made only if absent")
        elif found is None or found.as_object(key).version != only_if:
            raise PreconditionFailed(self.label, key, "read it again and repeat the change")

    def _look(self, key: str) -> Status | None:
        try:
            return self._client.status(key)
        except NotFound:
            return None

    def _send(self, key: str, temporary: str, body: Body) -> Status:
        chunks = _chunks(body)
        self._make_above(key)
        data = next(chunks, b"")
        self._client.create(temporary, data)
        size = len(data)
        for data in chunks:
            self._client.append(temporary, data, size)
            size += len(data)
        written = self._client.status(temporary)
        if written.size != size:
            raise PreconditionFailed(self.label, key, "the upload was disturbed; start again")
        return written

    def _make_above(self, key: str) -> None:
        """The folder of a key; the server makes those above it."""
        folder = keys.parent(key)
        if not folder:
            return
        try:
            self._client.make_folder(folder)
        except (Unsupported, AlreadyExists) as error:
            raise Unsupported(
                self.label, key, "a name above it is a file; choose another name"
            ) from error

    def _give(self, temporary: str, key: str, only_if: str | Presence | None) -> None:
        replace = only_if is not ABSENT
        if not self._client.rename(temporary, key, replace=replace):
            raise AlreadyExists(self.label, key, "somebody else has just made it")

    def _discard(self, temporary: str) -> None:
        """Remove an unfinished file; what cannot be removed stays hidden and is logged."""
        try:
            self._client.delete(temporary)
        except DatastoresError as error:
            log.warning('unfinished upload "%s" is left behind: %s', temporary, error)

    def _stale(self, folder: str) -> Sequence[str]:
        now_ns = time.time_ns()
        return [
            keys.join(folder, status.name)
            for page in self._client.entries(folder)
            for status in page
            if is_temporary(status.name) and is_stale(status.modified_ms * 1_000_000, now_ns)
        ]

    def _walk(self, folder: str, start: str) -> Iterator[ObjectInfo | None]:
        """Files depth first in the order of names; None stands before each request."""
        yield None
        for entries in self._entries(folder):
            for key, status in entries:
                if not keys.basename(key).startswith(start):
                    continue
                if status.is_folder:
                    yield from self._walk(key, "")
                else:
                    yield status.as_object(key)
            yield None

    def _entries(self, folder: str) -> Iterator[Sequence[tuple[str, Status]]]:
        """Entries of a folder by key; none for what is no folder."""
        pages = self._client.entries(folder)
        while True:
            try:
                page = next(pages, None)
            except NotFound:
                if not folder:
                    raise
                return
            if page is None:
                return
            yield [
                (keys.join(folder, status.name), status)
                for status in page
                # A file lists itself under no name.
                if status.name and not is_temporary(status.name)
            ]


def _chunks(body: Body) -> Iterator[bytes]:
    """The body cut and joined to chunks of one size, the last one shorter."""
    gathered = bytearray()
    for piece in pieces(body):
        rest = piece
        while rest.nbytes:
            taken = min(rest.nbytes, CHUNK_BYTES - len(gathered))
            gathered += rest[:taken]
            rest = rest[taken:]
            if len(gathered) == CHUNK_BYTES:
                yield bytes(gathered)
                gathered.clear()
    if gathered:
        yield bytes(gathered)
