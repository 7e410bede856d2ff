"""What a program does in a mount while the clock runs. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.scene import interleave
from benchmarks.workloads import GIB, KIB, MIB


class Kind(enum.Enum):
    """The shape of the work."""

    READ = "read"  # whole files, from the first byte to the last
    RANDOM = "random"  # blocks of one large file, in no order
    MAP = "map"  # one file through a mapping, in pieces of tensors' size
    LIST = "list"  # the names of one folder
    STAT = "stat"  # the attributes of every file of one folder
    WRITE = "write"  # new files, each written from the first byte to the last


class Phase(enum.Enum):
    """Before or after the same was done in the same mount."""

    COLD = "cold"
    WARM = "warm"


@dataclass(frozen=True, slots=True)
class Work:
    """So many files of so many bytes, by so many processes at once.

    `block_bytes` is the size of one request of the program; `blocks` how many of them a random
    reader makes.
    """

    name: str
    title: str
    kind: Kind
    files: int
    file_bytes: int
    readers: int = 1
    block_bytes: int = MIB
    blocks: int = 0

    @property
    def writes(self) -> bool:
        return self.kind is Kind.WRITE

    @property
    def phases(self) -> tuple[Phase, ...]:
        """A write is done once; everything else is done again."""
        return (Phase.COLD,) if self.writes else (Phase.COLD, Phase.WARM)

    @property
    def units(self) -> int:
        """What is counted per second: bytes of large files, else files, blocks or names."""
        if self.kind is Kind.RANDOM:
            return self.blocks
        return self.total_bytes if self.of_bytes else self.files

    @property
    def of_bytes(self) -> bool:
        return self.kind is Kind.MAP or (
            self.kind in {Kind.READ, Kind.WRITE} and self.file_bytes >= MIB
        )

    @property
    def total_bytes(self) -> int:
        return self.files * self.file_bytes

    @property
    def moved_bytes(self) -> int:
        """What the program gets or gives when it does the work once."""
        if self.kind in {Kind.LIST, Kind.STAT}:
            return 0
        return self.blocks * self.block_bytes if self.kind is Kind.RANDOM else self.total_bytes


def works(*, quick: bool) -> dict[str, Work]:
    """Every work by name; `quick` ones have the same shape and a fraction of the bytes."""
    small, entries, made = (1000, 5000, 200) if quick else (5000, 100_000, 2000)
    large, huge, tensors = (256 * MIB, 512 * MIB, 128 * MIB) if quick else (GIB, 4 * GIB, GIB)
    written, blocks = (256 * MIB, 500) if quick else (2 * GIB, 4000)
    every = (
        Work("sequential-1", f"{_size(large)}, 1 reader", Kind.READ, 1, large),
        Work("sequential-4", f"4 x {_size(large // 4)}, 4 readers", Kind.READ, 4, large // 4, 4),
        Work("small-1", f"{small:,} x 100 KiB, 1 reader", Kind.READ, small, 100 * KIB),
        Work("small-8", f"{small:,} x 100 KiB, 8 readers", Kind.READ, small, 100 * KIB, 8),
        *(
            Work(
                f"random-{kib}k",
                f"{blocks:,} x {kib} KiB anywhere in {_size(huge)}",
                Kind.RANDOM,
                1,
                huge,
                block_bytes=kib * KIB,
                blocks=blocks,
            )
            for kib in (4, 64)
        ),
        Work("mmap", f"{_size(tensors)} mapped", Kind.MAP, 1, tensors, block_bytes=8 * MIB),
        Work("list", f"{entries:,} names", Kind.LIST, entries, 0),
        Work("stat", f"{entries:,} files", Kind.STAT, entries, 0),
        Work("create", f"{made:,} new files of 4 KiB", Kind.WRITE, made, 4 * KIB),
        Work("write", f"a new file of {_size(written)}", Kind.WRITE, 1, written),
    )
    return {work.name: work for work in every}


@dataclass(frozen=True, slots=True)
class Turn:
    """One peer's go at one work."""

    work: Work
    peer: str
    round: int


def plan_turns(
    chosen: Sequence[Work], peers: Sequence[str], rounds: int, able: dict[str, bool]
) -> Iterator[Turn]:
    """Work by work, and within each A B C A B C; `able` says who of them takes writes."""
    for work in chosen:
        takers = [peer for peer in peers if able[peer] or not work.writes]
        for number, peer in interleave(takers, rounds):
            yield Turn(work, peer, number)


def _size(size: int) -> str:
    return f"{size // GIB} GiB" if size >= GIB else f"{size // MIB} MiB"
