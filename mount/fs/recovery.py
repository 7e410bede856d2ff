"""What a crash or a dead store left in the spool, sent after all."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from datastores.errors import (
    AlreadyExists,
    Corrupted,
    DatastoresError,
    PreconditionFailed,
    Unavailable,
)
from datastores.storage.contract import ABSENT, Store
from datastores.value import Value
from mount.fs.arrival import arrived
from mount.fs.block_plan import Piece
from mount.fs.facts import MTIME, spell_mtime
from mount.fs.spool import Note, Spool, SpoolBody, SpoolFile, read_padded

BLOCK_BYTES = 8 * 1024 * 1024


class Outcome(enum.Enum):
    """What became of one file."""

    STORED = "stored"
    # Somebody changed the object since; the bytes stay here.
    CONFLICT = "conflict"
    FAILED = "failed"
    # Never closed, so nobody was promised anything; the bytes stay here.
    UNFINISHED = "unfinished"


class Recovered(Value):
    """One file of the spool; `path` still exists unless it was stored."""

    path: Path
    key: str | None
    size: int
    outcome: Outcome
    reason: str = ""


def recover(spool: Spool, store: Store) -> Sequence[Recovered]:
    """Send what was closed and did not arrive; files of living mounts and other stores stay."""
    found: list[Recovered] = []
    for file, note in spool.abandoned():
        if note is None:
            size = file.path.stat().st_size
            found.append(Recovered(file.path, None, size, Outcome.UNFINISHED))
        elif note.store == store.identity:
            found.append(_retry(file, note, store))
    return found


def _retry(file: SpoolFile, note: Note, store: Store) -> Recovered:
    try:
        try:
            _send(file, note, store)
        except (AlreadyExists, PreconditionFailed) as error:
            # The answer may have been lost with the process, and the object there is this one.
            if arrived(file, note, store) is None:
                return Recovered(file.path, note.key, note.size, Outcome.CONFLICT, str(error))
    except (DatastoresError, OSError) as error:
        return Recovered(file.path, note.key, note.size, Outcome.FAILED, str(error))
    file.path.unlink()
    file.settle()
    return Recovered(file.path, note.key, note.size, Outcome.STORED)


def _send(file: SpoolFile, note: Note, store: Store) -> None:
    for start, end in note.borrowed:
        _fetch_back(file, note, store, start, end)
    condition = ABSENT if note.exclusive else note.base_version
    metadata = None
    if note.modified_ns is not None and store.features.keeps_metadata:
        metadata = {MTIME: spell_mtime(note.modified_ns)}
    if note.staged:
        ids = _stage_rest(file, note, store)
        assert store.staging
        store.staging.commit(note.key, ids, only_if=condition, metadata=metadata)
    else:
        body = SpoolBody(file.fd, note.size)
        store.write(note.key, body, only_if=condition, metadata=metadata)


def _fetch_back(file: SpoolFile, note: Note, store: Store, start: int, end: int) -> None:
    """A range that was never changed, from the version the file began as."""
    with store.read(note.key, start=start, length=end - start, version=note.base_version) as stream:
        for piece in stream:
            view = memoryview(piece)
            while view:
                written = os.pwrite(file.fd, view, start)
                view, start = view[written:], start + written
    if start != end:
        raise Unavailable(store.label, note.key, "it ended early; recover again")


def _stage_rest(file: SpoolFile, note: Note, store: Store) -> Sequence[str]:
    """The blocks of the file: those sent before the crash, and the others now."""
    assert store.staging
    ids: list[str] = []
    for number, piece in enumerate(_pieces(note, store)):
        ids.append(piece.id or f"{file.name[:24]}{number:08d}")
        if piece.id is None:
            data = read_padded(file.fd, piece.start, piece.end)
            store.staging.stage(note.key, ids[-1], data)
    return ids


def _pieces(note: Note, store: Store) -> Iterator[Piece]:
    """Every block that was sent, however small: the disk has only zeros in its place."""
    at = 0
    for name, start, end in sorted(note.staged, key=lambda block: block[1]):
        if start < at or end > note.size:
            raise Corrupted(store.label, note.key, "its blocks overlap; look at the spooled file")
        yield from _gap(at, start)
        yield Piece(start, end, name)
        at = end
    yield from _gap(at, note.size)


def _gap(start: int, end: int) -> Iterator[Piece]:
    for at in range(start, end, BLOCK_BYTES):
        yield Piece(at, min(at + BLOCK_BYTES, end))
