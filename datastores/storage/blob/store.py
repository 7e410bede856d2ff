"""A blob container, or an ADLS Gen2 file system, as a `Store`.

Requests go over sockets of our own (`direct`), or through urllib3 where the environment names a
proxy (`proxied`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from datastores.credentials.forms import ENTRA_KINDS, for_own_requests
from datastores.credentials.kinds import Credential
from datastores.definitions.azure_storage import BlobContainer, DataLakeGen2
from datastores.errors import AlreadyExists, CredentialRefused, NotFound
from datastores.storage.blob.blocks import BlobStaging, as_bytes, cut, write_blocks
from datastores.storage.blob.copies import BlobCopying
from datastores.storage.blob.failures import RangeBeyond
from datastores.storage.blob.folders import BlobFolders
from datastores.storage.blob.headers import (
    condition,
    info_from,
    metadata_headers,
    must_carry,
    written,
)
from datastores.storage.blob.listers import Listers
from datastores.storage.blob.listing import FolderPages, ObjectPages, is_marker, raw_pages
from datastores.storage.blob.place import Place, place_of
from datastores.storage.blob.reading import BlobStream, nothing, read_blob
from datastores.storage.blob.spelling import LONGEST_KEY, must_hold, unholdable
from datastores.storage.blob.wire import Wire
from datastores.storage.contract import (
    Features,
    ObjectInfo,
    Page,
    Patience,
    Presence,
    Store,
)
from datastores.storage.forks import renewed

if TYPE_CHECKING:
    from datastores.storage.blob.signer import Proof
    from datastores.storage.contract import Body

_FEATURES = Features(survives_fork=True, longest_key=LONGEST_KEY)


def open_blob(
    definition: BlobContainer | DataLakeGen2, credential: Credential, patience: Patience
) -> Store:
    """The store of a definition; nothing is asked of the network or of the credential yet."""
    place = place_of(definition, credential)
    wire = renewed(Wire(place, lambda: _wire_proof(place, credential), patience))
    listers = renewed(Listers())
    staging = BlobStaging(wire)
    return BlobStore(
        place,
        wire,
        listers,
        staging,
        BlobCopying(wire, staging, definition, credential, patience),
        BlobFolders(wire, listers, hierarchical=isinstance(definition, DataLakeGen2)),
    )


def _wire_proof(place: Place, credential: Credential) -> Proof:
    _must_stay_secret(place, credential)
    return for_own_requests(credential, store=place.label)


def _must_stay_secret(place: Place, credential: Credential) -> None:
    # Keys only sign, and a SAS is as narrow as its maker wished; a token opens much more.
    if isinstance(credential, ENTRA_KINDS) and not place.hides_tokens:
        raise CredentialRefused(
            place.label, "an identity is not sent over plain http; register the store with https"
        )


class BlobStore:
    """Objects of one container."""

    def __init__(
        self,
        place: Place,
        wire: Wire,
        listers: Executor,
        staging: BlobStaging,
        copying: BlobCopying,
        folders: BlobFolders,
    ) -> None:
        self._place = place
        self._wire = wire
        self._listers = listers
        self._staging = staging
        self._copying = copying
        self._folders = folders

    @property
    def label(self) -> str:
        return self._place.label

    @property
    def identity(self) -> str:
        return self._place.identity

    @property
    def features(self) -> Features:
        return _FEATURES

    @property
    def staging(self) -> BlobStaging:
        return self._staging

    @property
    def renaming(self) -> None:
        return None

    @property
    def copying(self) -> BlobCopying:
        return self._copying

    @property
    def folders(self) -> BlobFolders:
        return self._folders

    def stat(self, key: str) -> ObjectInfo:
        self._must_be_possible(key)
        info = info_from(key, self._wire.ask("HEAD", key).headers)
        if is_marker(key, info.size, info.metadata):
            raise NotFound(self.label, key, "it is a folder")
        return info

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> BlobStream:
        self._must_be_possible(key)
        if length == 0:
            return nothing(self._place, self.stat(key), version)
        try:
            return read_blob(self._wire, key, start, length, version)
        except RangeBeyond:
            return nothing(self._place, self.stat(key), version)

    def write(
        self,
        key: str,
        body: Body,
        *,
        only_if: str | Presence | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        must_hold(self.label, key)
        must_carry(self.label, key, metadata)
        blocks = cut(body)
        first = next(blocks, b"")
        second = next(blocks, None)
        if second is not None:
            return write_blocks(
                self._staging,
                key,
                itertools.chain([first, second], blocks),
                only_if=only_if,
                metadata=metadata,
            )
        headers = {
            "x-ms-blob-type": "BlockBlob",
            **condition(only_if),
            **metadata_headers(metadata),
        }
        content = as_bytes(first)
        response = self._wire.ask("PUT", key, headers=headers, body=content)
        return written(key, len(content), response.headers)

    def delete(self, key: str) -> None:
        if unholdable(key):
            return
        try:
            self._wire.ask("DELETE", key, headers={"x-ms-delete-snapshots": "include"})
        except NotFound as error:
            if error.detail:  # the container is missing, not the blob
                raise

    def list(self, prefix: str = "") -> Iterator[Page]:
        return ObjectPages(raw_pages(self._wire, self._listers, prefix))

    def list_folder(self, place: str = "") -> Iterator[Page]:
        prefix = f"{place}/" if place else ""
        return FolderPages(raw_pages(self._wire, self._listers, prefix, delimiter="/"), prefix)

    def check(self, *, create: bool = False) -> None:
        look = {"restype": "container", "comp": "list", "maxresults": "1"}
        try:
            self._wire.ask("GET", query=look)
        except NotFound:
            if not create:
                raise
            self._create()

    def close(self) -> None:
        # Running look-aheads end within their patience.
        self._listers.shutdown(wait=True, cancel_futures=True)
        self._wire.close()

    def _must_be_possible(self, key: str) -> None:
        reason = unholdable(key)
        if reason:
            raise NotFound(self.label, key, reason)

    def _create(self) -> None:
        try:
            self._wire.ask("PUT", query={"restype": "container"})
        except AlreadyExists:
            return  # somebody else was faster, which is as good
