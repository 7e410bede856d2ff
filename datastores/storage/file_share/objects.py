"""What the client library tells about a file, as an `ObjectInfo`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from datastores.storage.contract import ObjectInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def info_of(key: str, properties: Any, *, size: int | None = None) -> ObjectInfo:
    """A file from its properties, whether from a listing, a look or a download."""
    md5 = properties.content_settings.content_md5 if properties.content_settings else None
    return ObjectInfo(
        key=key,
        size=properties.size if size is None else size,
        modified_ns=_nanoseconds(properties.last_write_time or properties.last_modified),
        version=version_of(properties),
        md5=bytes(md5) if md5 else None,
        metadata=dict(properties.metadata or {}),
    )


def version_of(properties: Any) -> str | None:
    """The ETag without its quotes, which listings and headers write differently."""
    return bare_etag(properties.etag)


def info_after_write(
    key: str, size: int, headers: Mapping[str, str], metadata: Mapping[str, str]
) -> ObjectInfo:
    """A file from the headers of the answer that put it in place."""
    return ObjectInfo(
        key=key,
        size=size,
        modified_ns=_nanoseconds(headers.get("x-ms-file-last-write-time")),
        version=bare_etag(headers.get("ETag")),
        metadata=dict(metadata),
    )


def bare_etag(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None


def _nanoseconds(moment: datetime | str | None) -> int | None:
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
