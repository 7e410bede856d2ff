"""What is moved: how many files of which sizes, and how their bytes are made and recognised."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

_PIECE = MIB
_POOL_BYTES = 16 * MIB
_FILES_PER_FOLDER = 1000
# Every blob was last changed at this moment, in listings, headers and the files themselves.
MODIFIED_AT = 1_640_995_200
MODIFIED_TEXT = "Sat, 01 Jan 2022 00:00:00 GMT"


@dataclass(frozen=True, slots=True)
class Workload:
    """A set of files; `of_files` says that files per second, not bytes, is what people ask for."""

    name: str
    title: str
    sizes: Sequence[int]
    of_files: bool

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes)


@dataclass(frozen=True, slots=True)
class Print:
    """What a file must look like when it arrives."""

    size: int
    sha256: str


Manifest = Mapping[str, Print]


def workloads(*, quick: bool) -> dict[str, Workload]:
    """Every workload by name; `quick` ones have the same shape and a fraction of the bytes."""
    if quick:
        every = (
            Workload("small", "300 files of 20 KiB", (20 * KIB,) * 300, of_files=True),
            Workload("tiny", "1,000 files of 4 KiB", (4 * KIB,) * 1000, of_files=True),
            Workload("large", "2 files of 24 MiB", (24 * MIB,) * 2, of_files=False),
            Workload("huge", "1 file of 64 MiB", (64 * MIB,), of_files=False),
            Workload("mix", "200 files, 1 KiB to 8 MiB", _zipf(200, 8 * MIB), of_files=False),
        )
    else:
        every = (
            Workload("small", "5,000 files of 100 KiB", (100 * KIB,) * 5000, of_files=True),
            Workload("tiny", "100,000 files of 4 KiB", (4 * KIB,) * 100_000, of_files=True),
            Workload("large", "2 files of 512 MiB", (512 * MIB,) * 2, of_files=False),
            Workload("huge", "1 file of 4 GiB", (4 * GIB,), of_files=False),
            Workload(
                "mix", "2,000 files, 28 KiB to 256 MiB", _zipf(2000, 256 * MIB), of_files=False
            ),
        )
    return {workload.name: workload for workload in every}


def _zipf(count: int, largest: int) -> tuple[int, ...]:
    """Sizes by rank; the exponent keeps half of the bytes in the few largest files."""
    return tuple(max(KIB, int(largest / rank**1.2)) for rank in range(1, count + 1))


def make_files(workload: Workload, folder: Path, seed: int) -> Manifest:
    """Write the workload's files; the same seed gives the same names and bytes everywhere."""
    pool = random.Random(seed).randbytes(_POOL_BYTES)
    shuffled = list(workload.sizes)
    random.Random(f"{seed}/{workload.name}").shuffle(shuffled)
    manifest: dict[str, Print] = {}
    for number, size in enumerate(shuffled):
        name = f"part-{number // _FILES_PER_FOLDER:03d}/{number:06d}.bin"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with path.open("wb", buffering=0) as file:
            for piece in _pieces(pool, f"{seed}/{workload.name}/{name}", size):
                digest.update(piece)
                file.write(piece)
        os.utime(path, (MODIFIED_AT, MODIFIED_AT))
        manifest[name] = Print(size, digest.hexdigest())
    return manifest


def _pieces(pool: bytes, label: str, size: int) -> Iterator[memoryview]:
    """Slices of one random pool from random places: as fast as memory, and no two pieces alike."""
    places = random.Random(label)
    view = memoryview(pool)
    for start in range(0, size, _PIECE):
        length = min(_PIECE, size - start)
        place = places.randrange(len(pool) - length)
        yield view[place : place + length]


def differences(manifest: Manifest, arrived: Mapping[str, Sequence[Path]]) -> list[str]:
    """What is wrong with the files that arrived, each given as the pieces it consists of."""
    wrong = [f'"{name}" is missing' for name in manifest if name not in arrived]
    wrong += [f'"{name}" was never sent' for name in arrived if name not in manifest]
    for name, pieces in arrived.items():
        want = manifest.get(name)
        if want is not None and fingerprint(pieces) != want:
            wrong.append(f'"{name}" has other bytes')
    return wrong


def fingerprint(pieces: Sequence[Path]) -> Print:
    """Size and checksum of the pieces, one after the other."""
    digest = hashlib.sha256()
    size = 0
    buffer = bytearray(_PIECE)
    for piece in pieces:
        with piece.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
                size += count
    return Print(size, digest.hexdigest())


def files_below(folder: Path) -> dict[str, Path]:
    """Every file under a folder by its name with slashes."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
