"""The program that uses a mount, timed from inside: start-up of an interpreter is not its work.

Usage: python -m benchmarks.mounts.program, with the order as JSON on standard input.
Several readers are processes, as a data loader's workers are: threads of one interpreter would
measure their own lock.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.mounts.data import FOLDER, Pool, names_of, offsets_of
from benchmarks.mounts.works import Kind, Work


@dataclass(frozen=True, slots=True)
class Done:
    """What one go took, and what it got or gave."""

    seconds: float
    files: int
    bytes: int


def do_work(work: Work, root: Path, seed: int) -> Done:
    """Everything once."""
    shares = [list(range(reader, work.files, work.readers)) for reader in range(work.readers)]
    act = _ACTS[work.kind]
    if work.readers == 1:
        started = time.monotonic()
        files, count = act(work, root, shares[0], seed)
        return Done(time.monotonic() - started, files, count)
    return _by_processes([lambda share=share: act(work, root, share, seed) for share in shares])  # type: ignore[misc]  # bound now


def _by_processes(acts: Sequence[Callable[[], tuple[int, int]]]) -> Done:
    gate, opened = os.pipe()
    results, told = os.pipe()
    children = []
    for act in acts:
        child = os.fork()
        if not child:
            os.close(opened)
            os.read(gate, 1)  # ends when the parent closes its side
            files, count = act()
            os.write(told, f"{files} {count}\n".encode())
            os._exit(0)
        children.append(child)
    started = time.monotonic()
    os.close(opened)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    seconds = time.monotonic() - started
    os.close(told)
    with os.fdopen(results) as lines:
        counts = [tuple(map(int, line.split())) for line in lines]
    if any(codes):
        raise SystemExit("a reader failed")
    return Done(seconds, sum(files for files, _ in counts), sum(count for _, count in counts))


def _read(work: Work, root: Path, share: Sequence[int], seed: int) -> tuple[int, int]:
    del seed
    names = names_of(work)
    if work.file_bytes < work.block_bytes:
        return len(share), sum(len((root / names[number]).read_bytes()) for number in share)
    buffer = bytearray(work.block_bytes)
    total = 0
    for number in share:
        with (root / names[number]).open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                total += count
    return len(share), total


def _read_anywhere(work: Work, root: Path, share: Sequence[int], seed: int) -> tuple[int, int]:
    del share
    (name,) = names_of(work)
    fd = os.open(root / name, os.O_RDONLY)
    try:
        size = work.block_bytes
        return 1, sum(len(os.pread(fd, size, offset)) for offset in offsets_of(work, seed))
    finally:
        os.close(fd)


def _map(work: Work, root: Path, share: Sequence[int], seed: int) -> tuple[int, int]:
    del share, seed
    (name,) = names_of(work)
    total = 0
    with (
        (root / name).open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view,
    ):
        for at in range(0, len(view), work.block_bytes):
            total += len(view[at : at + work.block_bytes])
    return 1, total


def _list(work: Work, root: Path, share: Sequence[int], seed: int) -> tuple[int, int]:
    del share, seed, work
    with os.scandir(root / FOLDER) as lines:
        return sum(1 for line in lines if line.is_file()), 0


def _stat(work: Work, root: Path, share: Sequence[int], seed: int) -> tuple[int, int]:
    del seed
    names = names_of(work)
    return len(share), sum(os.stat(root / names[number]).st_size for number in share)  # noqa: PTH116 - the call itself is measured


def _write(work: Work, root: Path, share: Sequence[int], seed: int) -> tuple[int, int]:
    source = Pool(seed)
    names = names_of(work)
    total = 0
    for number in share:
        with (root / names[number]).open("wb", buffering=0) as file:
            for part in source.parts(f"{work.name}/{names[number]}", work.file_bytes):
                total += file.write(part) or 0
    return len(share), total


_ACTS: dict[Kind, Callable[[Work, Path, Sequence[int], int], tuple[int, int]]] = {
    Kind.READ: _read,
    Kind.RANDOM: _read_anywhere,
    Kind.MAP: _map,
    Kind.LIST: _list,
    Kind.STAT: _stat,
    Kind.WRITE: _write,
}


def main() -> None:
    """Read the order, do it, print what it took."""
    order = json.load(sys.stdin)
    work = Work(**{**order["work"], "kind": Kind(order["work"]["kind"])})
    print(json.dumps(asdict(do_work(work, Path(order["root"]), order["seed"]))))


if __name__ == "__main__":
    main()
