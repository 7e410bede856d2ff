"""Sending a small file: read whole, checked for changes, written in one request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from datastores.errors import AlreadyExists, PreconditionFailed
from datastores.storage.contract import ABSENT
from datastores.transfer.options import Overwrite
from datastores.transfer.sending import MOST_READS, is_same
from datastores.transfer.sources import Found

if TYPE_CHECKING:
    from datastores.storage.contract import Body, ObjectInfo
    from datastores.transfer.sending import Sending

_PIECE_BYTES = 1 << 20


def send_small(sending: Sending, found: Found) -> int | None:
    """The file as an object; the bytes that were moved."""
    sending.ledger.started(found.name)
    if found.size <= sending.options.small_bytes:
        found, body = read_whole(found)
        info = _write(sending, found, body)
    else:
        info = _write(sending, found, _Pieces(found, sending))
    if info is None:
        sending.ledger.skipped(found.name, "it exists")
        return None
    sending.ledger.moved(found.name, found.size)
    sending.arrived(found, info)
    return found.size


def read_whole(found: Found) -> tuple[Found, bytes]:
    """The file's bytes at one moment, and what it was at that moment."""
    for _ in range(MOST_READS):
        fd = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_BINARY", 0))
        try:
            before = os.fstat(fd)
            data = _read(fd, before.st_size)
            found = Found(found.path, found.name, before.st_size, before.st_mtime_ns, before.st_ino)
            if len(data) == before.st_size and is_same(found, os.fstat(fd)):
                return found, data
        finally:
            os.close(fd)
    raise changed(found)


def changed(found: Found) -> PreconditionFailed:
    """The file does not stand still."""
    detail = "it changed while it was read; run it again when nothing writes to it"
    return PreconditionFailed("the source folder", found.name, detail)


def _read(fd: int, size: int) -> bytes:
    # One byte more than expected tells whether the file has grown; one read is the usual case.
    data = os.read(fd, size + 1)
    while len(data) < size and (more := os.read(fd, size + 1 - len(data))):
        data += more
    return data


def _write(sending: Sending, found: Found, body: Body) -> ObjectInfo | None:
    key, metadata = sending.key(found), sending.metadata(found)
    if sending.options.overwrite is not Overwrite.SKIP_EXISTING:
        return sending.store.write(key, body, metadata=metadata)
    try:
        return sending.store.write(key, body, metadata=metadata, only_if=ABSENT)
    except AlreadyExists:
        return None


class _Pieces:
    """A large file for a store without staging, read again from the start when iterated again."""

    def __init__(self, found: Found, sending: Sending) -> None:
        self._found = found
        self._sending = sending

    def __iter__(self) -> Iterator[bytes]:
        fd = os.open(self._found.path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_BINARY", 0))
        try:
            while data := os.read(fd, _PIECE_BYTES):
                self._sending.crew.check()
                yield data
            # Raising here leaves the object that was there untouched.
            if not is_same(self._found, os.fstat(fd)):
                raise changed(self._found)
        finally:
            os.close(fd)
