"""`comp=list` as the service answers it: pages of names below a prefix, as XML."""

from __future__ import annotations

import base64
import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from benchmarks.workloads import MODIFIED_TEXT

ETAG = "0x8DC000000000001"
_LARGEST_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Query:
    """One page that a client asks for; `after` is the last name of the page before."""

    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    limit: int = _LARGEST_PAGE


def parse_query(fields: Mapping[str, str]) -> Query:
    """The page named by the parameters of a request."""
    marker = fields.get("marker", "")
    return Query(
        prefix=fields.get("prefix", ""),
        delimiter=fields.get("delimiter", ""),
        after=base64.urlsafe_b64decode(marker).decode() if marker else "",
        limit=max(1, min(_LARGEST_PAGE, int(fields.get("maxresults", _LARGEST_PAGE)))),
    )


def render_page(
    url: str, container: str, names: Sequence[str], sizes: Mapping[str, int], query: Query
) -> bytes:
    """The page as XML; `names` are sorted."""
    entries: list[str] = []
    last = ""
    more = False
    for entry in _entries(names, query):
        if len(entries) == query.limit:
            more = True
            break
        last = entry
        entries.append(_prefix(entry) if entry not in sizes else _blob(entry, sizes[entry]))
    marker = base64.urlsafe_b64encode(last.encode()).decode() if more else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<EnumerationResults ServiceEndpoint={quoteattr(url)} ContainerName={quoteattr(container)}>"
        f"<Prefix>{escape(query.prefix)}</Prefix><MaxResults>{query.limit}</MaxResults>"
        f"<Delimiter>{escape(query.delimiter)}</Delimiter>"
        f"<Blobs>{''.join(entries)}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    ).encode()


def _entries(names: Sequence[str], query: Query) -> Iterator[str]:
    """Names, or their common beginnings up to the delimiter, after the marker."""
    at = bisect.bisect_left(names, query.prefix)
    if query.after:
        at = max(at, bisect.bisect_right(names, query.after))
    while at < len(names) and names[at].startswith(query.prefix):
        name = names[at]
        end = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
        if end < 0:
            yield name
            at += 1
            continue
        folder = name[: end + len(query.delimiter)]
        # Past everything that begins like the folder, however many names that is.
        at = bisect.bisect_left(names, folder + "\U0010ffff", at)
        if folder > query.after:
            yield folder


def _prefix(name: str) -> str:
    return f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"


def _blob(name: str, size: int) -> str:
    return (
        f"<Blob><Name>{escape(name)}</Name><Properties>"
        f"<Creation-Time>{MODIFIED_TEXT}</Creation-Time>"
        f"<Last-Modified>{MODIFIED_TEXT}</Last-Modified><Etag>{ETAG}</Etag>"
        f"<Content-Length>{size}</Content-Length>"
        "<Content-Type>application/octet-stream</Content-Type><Content-Encoding/>"
        "<Content-Language/><Content-CRC64/><Content-MD5/><Cache-Control/><Content-Disposition/>"
        "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
        "<AccessTierInferred>true</AccessTierInferred><LeaseStatus>unlocked</LeaseStatus>"
        "<LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>"
        "</Properties></Blob>"
    )
