"""The files behind the endpoint, and how their bytes are recognised."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mounts.works import Kind, Work
from benchmarks.workloads import KIB, MIB, MODIFIED_AT

_POOL_BYTES = 16 * MIB
FOLDER = "data"
# Random reads are aligned to this, as those of a database or an index are.
_ALIGNMENT = 4 * KIB


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or a part of it, and what it must hold."""

    name: str
    offset: int
    size: int
    sha256: str


def names_of(work: Work) -> list[str]:
    """The files of a work, below the mount."""
    # New files go into the root: making folders is no part of any work.
    folder = "" if work.writes else f"{FOLDER}/"
    return [f"{folder}{number:06d}.bin" for number in range(work.files)]


def offsets_of(work: Work, seed: int) -> list[int]:
    """Where a random reader reads: the same for everybody."""
    chance = random.Random(f"{seed}/{work.name}")
    places = (work.file_bytes - work.block_bytes) // _ALIGNMENT
    return [chance.randrange(places + 1) * _ALIGNMENT for _ in range(work.blocks)]


def make_data(work: Work, folder: Path, seed: int) -> list[Piece]:
    """Write what the work reads; what must be found there afterwards."""
    source = Pool(seed)
    if work.kind is Kind.RANDOM:
        return _make_sparse(work, folder, source, seed)
    pieces: list[Piece] = []
    for name in names_of(work):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with path.open("wb", buffering=0) as file:
            for part in source.parts(f"{work.name}/{name}", work.file_bytes):
                digest.update(part)
                file.write(part)
        os.utime(path, (MODIFIED_AT, MODIFIED_AT))
        pieces.append(Piece(name, 0, work.file_bytes, digest.hexdigest()))
    return pieces


def _make_sparse(work: Work, folder: Path, source: Pool, seed: int) -> list[Piece]:
    """A file that takes no room except where it is read."""
    (name,) = names_of(work)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    offsets = offsets_of(work, seed)
    with path.open("wb", buffering=0) as file:
        os.truncate(file.fileno(), work.file_bytes)
        for offset in offsets:
            (part,) = source.parts(f"{work.name}/{offset}", work.block_bytes)
            os.pwrite(file.fileno(), part, offset)
    os.utime(path, (MODIFIED_AT, MODIFIED_AT))
    # Blocks may overlap: what counts is what the file holds in the end.
    with path.open("rb", buffering=0) as file:
        return [
            Piece(
                name,
                offset,
                work.block_bytes,
                _sha(os.pread(file.fileno(), work.block_bytes, offset)),
            )
            for offset in offsets
        ]


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Pool:
    """Bytes as fast as memory: slices of one random pool from random places, no two alike."""

    def __init__(self, seed: int) -> None:
        self._view = memoryview(random.Random(seed).randbytes(_POOL_BYTES))

    def parts(self, label: str, size: int) -> Iterator[memoryview]:
        """The bytes of one file, at most a mebibyte at a time."""
        places = random.Random(label)
        for start in range(0, size, MIB):
            length = min(MIB, size - start)
            at = places.randrange(len(self._view) - length)
            yield self._view[at : at + length]


def damages(root: Path, pieces: Sequence[Piece]) -> list[str]:
    """What is not there as it should be; at most one is named."""
    for piece in pieces:
        try:
            found = _found(root / piece.name, piece)
        except OSError as error:
            return [f'"{piece.name}" cannot be read: {error.strerror}']
        if found != piece.sha256:
            return [f'"{piece.name}" has other bytes at {piece.offset}']
    return []


def _found(path: Path, piece: Piece) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        at, end = piece.offset, piece.offset + piece.size
        while at < end and (part := os.pread(file.fileno(), min(MIB, end - at), at)):
            digest.update(part)
            at += len(part)
    return digest.hexdigest()
