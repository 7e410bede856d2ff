"""Objects and conditions as HTTP headers."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping

from datastores.errors import Unsupported
from datastores.storage.blob.listing import nanoseconds
from datastores.storage.contract import ABSENT, ObjectInfo, Presence

_METADATA = "x-ms-meta-"
# What Azure documents (a C# identifier), and what a header can carry.
_METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_METADATA_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?\Z")


def info_from(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """The object that the answer to a HEAD or GET describes; names are in lower case."""
    total = headers.get("content-range", "").rpartition("/")[2] or headers["content-length"]
    # With a range, Content-MD5 would be that of the range.
    digest = headers.get("x-ms-blob-content-md5") or (
        None if "content-range" in headers else headers.get("content-md5")
    )
    return ObjectInfo(
        key,
        int(total),
        nanoseconds(headers["last-modified"]),
        version_from(headers),
        binascii.a2b_base64(digest) if digest else None,
        {
            name[len(_METADATA) :]: value
            for name, value in headers.items()
            if name.startswith(_METADATA)
        },
    )


def version_from(headers: Mapping[str, str]) -> str:
    """The ETag without its quotes, as listings have it."""
    return headers["etag"].strip('"')


def written(key: str, size: int, headers: Mapping[str, str]) -> ObjectInfo:
    """The object that the answer to a write describes."""
    return ObjectInfo(key, size, nanoseconds(headers["last-modified"]), version_from(headers))


def condition(only_if: str | Presence | None) -> dict[str, str]:
    """The condition of a write."""
    if only_if is None:
        return {}
    if only_if is ABSENT:
        return {"If-None-Match": "*"}
    return {"If-Match": f'"{only_if}"'}


def metadata_headers(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata as the service takes it."""
    return {_METADATA + name: value for name, value in (metadata or {}).items()}


def must_carry(label: str, key: str, metadata: Mapping[str, str] | None) -> None:
    """`Unsupported` for metadata that would not come back as it was given."""
    for name, value in (metadata or {}).items():
        if not _METADATA_NAME.match(name):
            raise Unsupported(
                label, key, f'metadata cannot be named "{name}"; use letters, digits and _'
            )
        if not _METADATA_VALUE.match(value):
            raise Unsupported(
                label, key, f'the value of metadata "{name}" is not plain ASCII text; encode it'
            )
