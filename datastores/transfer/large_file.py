"""Bringing a large object here: parallel ranges of one version, journalled, resumable."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from datastores.errors import Corrupted, PreconditionFailed
from datastores.transfer import disk, journal
from datastores.transfer.arrival import publish
from datastores.transfer.checksum import ALGORITHMS, PREFERRED
from datastores.transfer.crew import Work
from datastores.transfer.options import Integrity
from datastores.transfer.pieces import Pieces
from datastores.transfer.planning import version_of
from datastores.transfer.ranges import Range, plan_ranges, range_bytes

if TYPE_CHECKING:
    from datastores.storage.contract import ObjectInfo
    from datastores.transfer.planning import Fetch
    from datastores.transfer.session import Session

# What one range in flight holds: a piece being written and one on its way.
RANGE_WEIGHT = 2 << 20
# An object that changed this often during one download is reported instead of chased.
MOST_RESTARTS = 2
_READ_BYTES = 1 << 20
# Comparing with zeros runs at memory speed; stripping them byte by byte did 0.2 GB/s.
_ZEROS = bytes(4 << 20)


class LargeFetch:
    """One large object on its way; the thread that ends its last range completes it."""

    def __init__(self, session: Session, fetch: Fetch, restarts: int = 0) -> None:
        self._session = session
        self._fetch = fetch
        self._restarts = restarts
        self._part = disk.hidden_beside(fetch.path, disk.PART)
        self._journal_path = disk.hidden_beside(fetch.path, disk.JOURNAL)
        self._info = fetch.info
        self._fd = -1
        self._write_bytes = disk.GENTLE_BYTES
        self._journal: journal.Journal | None = None
        self._claimed: dict[int, int] = {}
        # The file held nothing when this run began, so holes in it are zeros.
        self._fresh = False
        # One for each range, put there by the thread that brings it.
        self._checksums: list[int] = []
        self._pieces = Pieces(self._complete)

    def open(self) -> None:
        """Claim the file, find out what an earlier run left, and queue the ranges."""
        session = self._session
        try:
            self._fd, _, waited = session.claim(self._part)
            self._write_bytes = disk.write_bytes(self._fd)
            if waited and session.is_present(self._fetch):
                disk.discard(self._part)
                session.ledger.skipped(self._fetch.name, "another process fetched it")
                self.close()
                return
            session.open_files.add(self)
            self._prepare()
        except Exception as error:  # noqa: BLE001  # reported with the file's name
            self.close()
            session.fail(self._fetch.name, error)
            return
        except BaseException:
            self.close()
            raise
        if self._pieces.left:
            session.crew.add(self._works())
        else:
            # It has become empty since the listing, so no range will end it.
            self._complete()

    def close(self) -> None:
        """Let go of the files; what has arrived stays for the next run."""
        self._session.open_files.discard(self)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        if self._journal is not None:
            self._journal.close()

    def _prepare(self) -> None:
        session = self._session
        if not self._restarts:
            session.ledger.started(self._fetch.name)
        if self._restarts or self._info.version is None:
            self._info = session.store.stat(self._fetch.info.key)
        size = self._info.size
        length = range_bytes(size)
        # A store without any version is taken at its word, but never resumed.
        version = version_of(self._info) or f"unknown {os.urandom(8).hex()}"
        binding = journal.Binding(self._fetch.origin, size, version, length, PREFERRED)
        known = journal.load(self._journal_path)
        if known.binding == binding and os.fstat(self._fd).st_size == size:
            self._claimed = dict(known.ranges)
            self._journal = journal.Journal.resume(self._journal_path, known)
        else:
            os.ftruncate(self._fd, 0)
            self._journal = journal.Journal.begin(self._journal_path, binding)
            self._allocate(size)
            self._fresh = True
        count = -(-size // length)
        self._checksums = [0] * count
        self._pieces.left = count

    def _allocate(self, size: int) -> None:
        try:
            disk.allocate(self._fd, size, sparse=self._session.options.sparse)
        except OSError:
            # A half-reserved file would keep the disk full.
            os.ftruncate(self._fd, 0)
            disk.discard(self._part)
            disk.discard(self._journal_path)
            raise
        if not self._restarts:
            self._session.space.settle(size)

    def _works(self) -> Iterator[Work]:
        length = range_bytes(self._info.size)
        for piece in plan_ranges(self._info.size, length):
            yield Work(partial(self._pieces.run, partial(self._bring, piece)), RANGE_WEIGHT)

    def _bring(self, piece: Range) -> int | None:
        session, name = self._session, self._fetch.name
        claimed = self._claimed.get(piece.index)
        if claimed is not None and self._sum_on_disk(piece) == claimed:
            self._checksums[piece.index] = claimed
            session.ledger.resumed(name, piece.length)
            return None
        at, checksum = piece.start, ALGORITHMS[PREFERRED]()
        end = piece.start + piece.length
        checked = session.options.integrity is not Integrity.SIZE
        with session.store.read(
            self._info.key, start=piece.start, length=piece.length, version=self._info.version
        ) as stream:
            self._refuse_another(stream.info)
            for data in stream:
                session.crew.check()
                if self._pieces.error is not None:
                    return None
                size = memoryview(data).nbytes
                if at + size > end:
                    raise self._damaged(f"more than {piece.length} bytes for a range")
                self._put(data, at)
                if checked:
                    checksum.update(data)
                at += size
                session.ledger.moved(name, size)
        if at != end:
            raise self._damaged(f"{at - piece.start} of {piece.length} bytes of a range")
        self._checksums[piece.index] = checksum.intdigest()
        assert self._journal is not None
        if checked:
            self._journal.note(piece.index, checksum.intdigest())
        return piece.length

    def _complete(self) -> None:
        session, name = self._session, self._fetch.name
        try:
            if self._pieces.error is None:
                self._finish()
        except Exception as failed:  # noqa: BLE001  # reported with the file's name
            self._pieces.error = failed
        finally:
            self.close()
        if isinstance(self._pieces.error, PreconditionFailed) and self._restarts < MOST_RESTARTS:
            session.ledger.retried()
            session.crew.add([Work(LargeFetch(session, self._fetch, self._restarts + 1).open)])
        elif self._pieces.error is not None:
            session.fail(name, self._pieces.error)

    def _finish(self) -> None:
        session = self._session
        if session.options.integrity is Integrity.MD5:
            self._compare_md5()
        checked = session.options.integrity is not Integrity.SIZE
        publish(
            session,
            self._fetch,
            self._info,
            self._fd,
            self._part,
            range_bytes=range_bytes(self._info.size),
            checksums=tuple(self._checksums) if checked else (),
        )
        disk.discard(self._journal_path)

    def _put(self, data: object, at: int) -> None:
        if self._session.options.sparse and self._fresh:
            raw = bytes(data)  # type: ignore[call-overload]  # a Buffer; holes need a comparison
            if raw == _ZEROS[: len(raw)] or (len(raw) > len(_ZEROS) and not any(raw)):
                return
        disk.write_at(self._fd, data, at, self._write_bytes)  # type: ignore[arg-type]  # a Buffer

    def _sum_on_disk(self, piece: Range) -> int:
        checksum, at, end = ALGORITHMS[PREFERRED](), piece.start, piece.start + piece.length
        while at < end and (data := os.pread(self._fd, min(_READ_BYTES, end - at), at)):
            self._session.crew.check()
            checksum.update(data)
            at += len(data)
        return checksum.intdigest() if at == end else -1

    def _compare_md5(self) -> None:
        if self._info.md5 is None:
            return
        digest = hashlib.md5(usedforsecurity=False)
        at = 0
        while data := os.pread(self._fd, _READ_BYTES, at):
            self._session.crew.check()
            digest.update(data)
            at += len(data)
        if digest.digest() != self._info.md5:
            disk.discard(self._journal_path)
            raise self._damaged("its MD5 differs")

    def _refuse_another(self, info: ObjectInfo) -> None:
        same = info.size == self._info.size and (
            self._info.version is None or info.version in (None, self._info.version)
        )
        if not same:
            raise PreconditionFailed(
                self._session.store.label, self._info.key, "it changed while it was read"
            )

    def _damaged(self, what: str) -> Corrupted:
        return Corrupted(self._session.store.label, self._info.key, f"{what}; fetch it again")
