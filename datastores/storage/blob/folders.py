"""Empty folders, kept by marker blobs."""

from __future__ import annotations

from concurrent.futures import Executor

from datastores.errors import AlreadyExists, NotFound, PreconditionFailed, Unsupported
from datastores.storage.blob.headers import condition, info_from, version_from
from datastores.storage.blob.listing import FolderPages, is_marker, raw_pages
from datastores.storage.blob.spelling import must_hold
from datastores.storage.blob.wire import Wire
from datastores.storage.contract import ABSENT

_EMPTY_BLOB = {"x-ms-blob-type": "BlockBlob"}
_SAYS_FOLDER = {"x-ms-meta-hdi_isfolder": "true"}


class BlobFolders:
    """Markers `place/` in containers; in ADLS Gen2, blobs `place` that say they are folders.

    The second form is how the blob endpoint of a hierarchical account makes a directory.
    """

    def __init__(self, wire: Wire, executor: Executor, *, hierarchical: bool) -> None:
        self._wire = wire
        self._executor = executor
        self._hierarchical = hierarchical

    def make_folder(self, place: str) -> None:
        must_hold(self._wire.place.label, place)
        if not self._hierarchical:
            self._wire.ask("PUT", f"{place}/", headers=_EMPTY_BLOB, body=b"")
            return
        headers = {**_EMPTY_BLOB, **_SAYS_FOLDER, **condition(ABSENT)}
        try:
            self._wire.ask("PUT", place, headers=headers, body=b"")
        except AlreadyExists:
            if not self._marker_version(place):
                raise

    def remove_folder(self, place: str) -> None:
        must_hold(self._wire.place.label, place)
        for page in FolderPages(
            raw_pages(self._wire, self._executor, f"{place}/", delimiter="/"), f"{place}/"
        ):
            if page.objects or page.folders:
                raise Unsupported(
                    self._wire.place.label, place, "something is in it; remove that first"
                )
        for marker in (place, f"{place}/"):
            version = self._marker_version(marker)
            if version:
                self._remove(marker, version)

    def _marker_version(self, key: str) -> str | None:
        try:
            headers = self._wire.ask("HEAD", key).headers
        except NotFound:
            return None
        info = info_from(key, headers)
        return version_from(headers) if is_marker(key, info.size, info.metadata) else None

    def _remove(self, marker: str, version: str) -> None:
        # Between the look and the removal somebody may have put a file there, or removed it.
        try:
            self._wire.ask("DELETE", marker, headers=condition(version))
        except NotFound:
            return
        except PreconditionFailed as error:
            raise Unsupported(
                self._wire.place.label, marker, "it is no longer an empty folder; look again"
            ) from error
