"""Bringing a small object here: one request, one hidden file, one rename."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from datastores.errors import Corrupted
from datastores.transfer import disk
from datastores.transfer.arrival import publish
from datastores.transfer.checksum import ALGORITHMS, PREFERRED
from datastores.transfer.options import Integrity

if TYPE_CHECKING:
    from datastores.transfer.planning import Fetch
    from datastores.transfer.session import Session


def fetch_small(session: Session, fetch: Fetch) -> int:
    """The object under its final name; the bytes that were moved.

    A failure leaves nothing behind. What arrives is one version, because it is one response.
    """
    part = disk.hidden_beside(fetch.path, disk.PART)
    fd, left_over, waited = session.claim(part)
    try:
        if waited and session.is_present(fetch):
            disk.discard(part)
            session.ledger.skipped(fetch.name, "another process fetched it")
            return 0
        try:
            if left_over:
                os.ftruncate(fd, 0)  # it may be longer than what comes
            return _fill(session, fetch, fd, part)
        except BaseException:
            disk.discard(part)
            raise
    finally:
        os.close(fd)


def _fill(session: Session, fetch: Fetch, fd: int, part: str) -> int:
    options, ledger = session.options, session.ledger
    ledger.started(fetch.name)
    checked = options.integrity is not Integrity.SIZE
    md5 = hashlib.md5(usedforsecurity=False) if options.integrity is Integrity.MD5 else None
    checksum = ALGORITHMS[PREFERRED]()
    at = 0
    with session.store.read(fetch.info.key) as stream:
        info = stream.info
        for piece in stream:
            session.crew.check()
            size = memoryview(piece).nbytes
            disk.write_at(fd, piece, at)
            if checked:
                checksum.update(piece)
            if md5 is not None:
                md5.update(piece)
            at += size
            ledger.moved(fetch.name, size)
    if at != info.size:
        raise Corrupted(session.store.label, info.key, f"{at} of {info.size} bytes; run it again")
    if md5 is not None and info.md5 not in (None, md5.digest()):
        raise Corrupted(session.store.label, info.key, "its MD5 differs; fetch it again")
    checksums = (checksum.intdigest(),) if checked and at else ()
    publish(session, fetch, info, fd, part, range_bytes=at, checksums=checksums)
    return at
