"""What is at a place already: one listing instead of one question for each file."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from datastores.storage.contract import ObjectInfo
from datastores.transfer.arrival import MTIME_KEY

if TYPE_CHECKING:
    from datastores.storage.contract import Store

T = TypeVar("T")

# An object costs 100 bytes here: 25 MiB. Where more is, each file is asked for.
_MOST_OBJECTS = 250_000
# A page takes about as long as so many questions that are asked in parallel.
_QUESTIONS_PER_PAGE = 50
_LOOK_AHEAD = 5000
_OFFSET_BITS = 40
_encode = json.JSONEncoder(separators=(",", ":")).encode


def worth_listing(files: Iterable[T]) -> tuple[int, Iterator[T]]:
    """How many pages these files are worth, and the files again; reads some of them ahead."""
    stream = iter(files)
    ahead = list(islice(stream, _LOOK_AHEAD))
    pages = 1 + len(ahead) // _QUESTIONS_PER_PAGE
    return (pages if len(ahead) < _LOOK_AHEAD else _MOST_OBJECTS), chain(ahead, stream)


class Present:
    """The objects below a place, packed; does not change, so any thread may ask."""

    def __init__(self, objects: Iterable[ObjectInfo]) -> None:
        found: list[int] = []
        # Rows in the order of the listing, and where those of the sorted hashes of keys begin.
        self._rows = bytearray()
        for info in objects:
            found.append((hash(info.key) & 0xFFFFFFFFFFFFFFFF) << _OFFSET_BITS | len(self._rows))
            self._rows += _packed(info)
        found.sort()
        mask = (1 << _OFFSET_BITS) - 1
        self._hashes = array("Q", (entry >> _OFFSET_BITS for entry in found))
        self._offsets = array("Q", (entry & mask for entry in found))

    @classmethod
    def read(cls, store: Store, place: str, most_pages: int) -> Present | None:
        """What is below the place; None when that is more than is worth listing."""
        try:
            return cls(_bounded(store, place, most_pages))
        except _TooMuch:
            return None

    def find(self, key: str) -> ObjectInfo | None:
        """The object as the listing showed it; of its metadata only the time that was noted."""
        wanted = hash(key) & 0xFFFFFFFFFFFFFFFF
        at = bisect_left(self._hashes, wanted)
        if at == len(self._hashes) or self._hashes[at] != wanted:
            return None
        start = self._offsets[at]
        size, modified_ns, version, md5, noted = json.loads(
            self._rows[start : self._rows.index(b"\n", start)]
        )
        return ObjectInfo(
            key,
            size,
            modified_ns,
            version,
            None if md5 is None else bytes.fromhex(md5),
            {} if noted is None else {MTIME_KEY: noted},
        )


class _TooMuch(Exception):
    """The listing is longer than it may be."""


def _bounded(store: Store, place: str, most_pages: int) -> Iterator[ObjectInfo]:
    objects = 0
    for number, page in enumerate(store.list(f"{place}/" if place else "")):
        objects += len(page.objects)
        if number == most_pages or objects > _MOST_OBJECTS:
            raise _TooMuch
        yield from page.objects


def _packed(info: ObjectInfo) -> bytes:
    md5 = None if info.md5 is None else info.md5.hex()
    noted = info.metadata.get(MTIME_KEY)
    return _encode([info.size, info.modified_ns, info.version, md5, noted]).encode() + b"\n"
