"""Where things lie in the cache's folder, and what a file is charged for its place on disk.

- `usage`: the ledger, bytes taken, hits, misses (`ledger.py`)
- `evicting`, `beginning`: empty files that are locked
- `incoming/`: files on their way, named after their charge; empty ones with the suffix `.ahead`
  stand for room that a process took ahead
- `files/ab/<digest>`: complete data, nothing else inside; of more than one block `<digest>.head`
  beside it
- `partial/ab/<digest>`: sparse data; `<digest>.map` beside it, the later head

Names are plain text here, not `Path`: making one `Path` costs as much as opening the file.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from datastores.value import Value
from mount.cache.contract import CacheKey

# The disk hands out pages; a file of one byte takes one, and so does its head. Another one stands
# for the inode and its name.
PAGE_BYTES = 4096
# The unit of `st_blocks`, whatever the file system.
_DISK_SECTOR_BYTES = 512

# A block is what is fetched, checked and marked as one. 256 KiB is where the transfer of a range
# (about 100 MiB/s on one connection) takes no longer than the wait for its first byte: a random
# read of 4 KiB pays at most double, a sequential one loses nothing. A block is checked in 0.15 ms.
SMALLEST_BLOCK_BYTES = 256 * 1024
# Keeps a map below 512 KiB however large the file; blocks reach 16 MiB at 1 TiB.
MOST_BLOCKS = 65_536

# The file whose checksums, of eight bytes each, fill a page.
_ONE_PAGE_OF_ENTRIES = PAGE_BYTES // 8 * SMALLEST_BLOCK_BYTES

HEAD_SUFFIX = ".head"
MAP_SUFFIX = ".map"
AHEAD_SUFFIX = ".ahead"


class Geometry(Value):
    """How a file of this size is cut into blocks; the last one may be shorter."""

    size: int
    block_bytes: int

    @classmethod
    def of(cls, size: int) -> Geometry:
        """The one cut that every process makes of a file of this size."""
        block_bytes = SMALLEST_BLOCK_BYTES
        while block_bytes * MOST_BLOCKS < size:
            block_bytes *= 2
        return cls(size, block_bytes)

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block_bytes)

    def length(self, first: int, count: int = 1) -> int:
        """Bytes in a run of blocks."""
        return min(self.size, (first + count) * self.block_bytes) - first * self.block_bytes


def has_head(size: int) -> bool:
    """Whether the checksums of a complete file lie beside it; that of one block is in its time.

    In the first form of this folder every file had one. Those that are still there are believed
    where the time says nothing, and go with their data.
    """
    return size > SMALLEST_BLOCK_BYTES


def charge(size: int) -> int:
    """What a complete file of this size counts against the quota, with its head."""
    if not has_head(size):
        return whole_pages(size) + PAGE_BYTES
    return whole_pages(size) + overhead(size)


def charge_of(stat: os.stat_result, *, is_partial: bool) -> int:
    """What a data file on the disk counts; of a partial one, the blocks that are there."""
    if not is_partial:
        return charge(stat.st_size)
    present = min(stat.st_blocks * _DISK_SECTOR_BYTES, whole_pages(stat.st_size))
    return present + overhead(stat.st_size)


def overhead(size: int) -> int:
    """What a head or map counts; very long names take a page more, which nobody charges."""
    if size <= _ONE_PAGE_OF_ENTRIES:
        # Almost every file; a census asks for each.
        return 2 * PAGE_BYTES
    return PAGE_BYTES + whole_pages(8 * Geometry.of(size).blocks)


def whole_pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES


class Place(Value):
    """The four names one version of one object can have."""

    data: str
    head: str
    partial: str
    map: str


class Layout:
    """Names below one folder; touches nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.usage = str(folder / "usage")
        self.evicting = str(folder / "evicting")
        self.beginning = str(folder / "beginning")
        self.incoming = str(folder / "incoming")
        self.files = str(folder / "files")
        self.partial = str(folder / "partial")

    def data(self, name: str) -> str:
        """The complete file; alone because `find` asks for nothing else."""
        return f"{self.files}/{name}"

    def place(self, name: str) -> Place:
        data, partial = f"{self.files}/{name}", f"{self.partial}/{name}"
        return Place(data, data + HEAD_SUFFIX, partial, partial + MAP_SUFFIX)


# A file that is not here is looked for twice and then put: 2 us each time.
@lru_cache(maxsize=1024)
def name_of(key: CacheKey) -> str:
    """The relative name of a version: two digits of its digest, a slash, the rest."""
    # Lengths in front, so that no two keys can be glued into the same text.
    text = f"{len(key.store)}:{len(key.key)}:{len(key.version)}:{key.size}:" + (
        key.store + key.key + key.version
    )
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:2]}/{digest[2:]}"


def is_at(stat: os.stat_result, path: str) -> bool:
    """Whether the file is still the one that has this name."""
    try:
        there = os.stat(path)  # noqa: PTH116  # text paths here
    except FileNotFoundError:
        return False
    return (there.st_ino, there.st_dev) == (stat.st_ino, stat.st_dev)


def move(path: str, new_path: str) -> None:
    """Rename, over what is there, into a folder that may have to be made."""
    try:
        os.rename(path, new_path)  # noqa: PTH104  # text paths here
    except FileNotFoundError:
        make_parent(new_path)
        os.rename(path, new_path)  # noqa: PTH104  # text paths here


def name_open_file(fd: int, path: str) -> None:
    """Give a file its first name, in a folder that may have to be made, unless it is taken."""
    # A descriptor makes Python use linkat(2), which alone follows this name to the open file; the
    # name being absolute, any descriptor will do.
    try:
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd)
    except FileNotFoundError:
        make_parent(path)
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd)


def make_parent(path: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120  # text paths here


def unlink_if_there(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108  # text paths here
    except FileNotFoundError:
        return
