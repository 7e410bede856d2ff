"""A blob container, or an ADLS Gen2 file system, as a `Store`.

Bytes go through obstore; what it cannot say (odd keys, listings with digests and folder markers,
blocks, copies) goes through urllib3. In a forked child of a process that has used
obstore everything does: its threads are not there, and calls would wait for them for ever.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from datastores.credentials.forms import ENTRA_KINDS, for_obstore_azure, for_own_requests
from datastores.credentials.kinds import Credential
from datastores.definitions.azure_storage import BlobContainer, DataLakeGen2
from datastores.errors import AlreadyExists, CredentialRefused, NotFound
from datastores.secret import masked
from datastores.storage.blob.blocks import BlobStaging, as_bytes, cut, write_blocks
from datastores.storage.blob.copies import BlobCopying
from datastores.storage.blob.failures import RangeBeyond
from datastores.storage.blob.fast import Fast
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
from datastores.storage.blob.reading import BlobStream, nothing, read_any, read_fast
from datastores.storage.blob.spelling import LONGEST_KEY, fits_obstore, must_hold, unholdable
from datastores.storage.blob.wire import Wire
from datastores.storage.contract import (
    ABSENT,
    Features,
    ObjectInfo,
    Page,
    Patience,
    Presence,
    Store,
)
from datastores.storage.forks import obstore_works, renewed

if TYPE_CHECKING:
    from obstore import PutMode
    from typing_extensions import Buffer

    from datastores.storage.blob.wire import Proof
    from datastores.storage.contract import Body

_FEATURES = Features(longest_key=LONGEST_KEY)


def open_blob(
    definition: BlobContainer | DataLakeGen2, credential: Credential, patience: Patience
) -> Store:
    """The store of a definition; nothing is asked of the network or of the credential yet."""
    place = place_of(definition, credential)
    wire = renewed(Wire(place, lambda: _wire_proof(place, credential), patience))
    listers = renewed(Listers())
    return BlobStore(
        place,
        renewed(Fast(place, lambda: _obstore_proof(place, credential), patience)),
        wire,
        listers,
        BlobStaging(wire),
        BlobCopying(wire, definition, credential, patience),
        BlobFolders(wire, listers, hierarchical=isinstance(definition, DataLakeGen2)),
    )


def _wire_proof(place: Place, credential: Credential) -> Proof:
    _must_stay_secret(place, credential)
    return for_own_requests(credential, store=place.label)


def _obstore_proof(place: Place, credential: Credential) -> dict[str, Any]:
    _must_stay_secret(place, credential)
    return for_obstore_azure(credential, store=place.label)


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
        fast: Fast,
        wire: Wire,
        listers: Executor,
        staging: BlobStaging,
        copying: BlobCopying,
        folders: BlobFolders,
    ) -> None:
        self._place = place
        self._fast = fast
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
            if fits_obstore(key) and obstore_works():
                return read_fast(self._fast, self._place, key, start, length, version)
            return read_any(self._wire, key, start, length, version)
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
        if fits_obstore(key) and obstore_works():
            return self._write_fast(key, first, only_if, metadata)
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
        self._fast.close()

    def _write_fast(
        self,
        key: str,
        body: Buffer,
        only_if: str | Presence | None,
        metadata: Mapping[str, str] | None,
    ) -> ObjectInfo:
        import obstore
        from obstore.exceptions import BaseError

        mode: PutMode = "overwrite"
        if only_if is ABSENT:
            mode = "create"
        elif only_if is not None:
            mode = {"e_tag": f'"{only_if}"'}
        try:
            result = obstore.put(
                self._fast.client(),
                key,
                body,
                attributes=dict(metadata) if metadata else None,
                mode=mode,
                use_multipart=False,
            )
        except (BaseError, OSError, ValueError) as error:
            raise self._fast.failure(key, error) from masked(error)
        version = (result["e_tag"] or "").strip('"') or None
        return ObjectInfo(key, memoryview(body).nbytes, None, version)

    def _must_be_possible(self, key: str) -> None:
        reason = unholdable(key)
        if reason:
            raise NotFound(self.label, key, reason)

    def _create(self) -> None:
        try:
            self._wire.ask("PUT", query={"restype": "container"})
        except AlreadyExists:
            return  # somebody else was faster, which is as good
