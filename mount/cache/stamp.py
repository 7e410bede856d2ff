"""The time a complete file carries instead of its last change: proof that nobody touched it since.

A file that entered the cache since the machine started is whole, because a killed process loses
nothing that it wrote; after a power cut or reset that is no longer so, and nothing was synced to
make it so (a sync per file would cost more than the fetch). So the modification time of every
admitted file names the boot in which its bytes were last known to be right. `find` compares its
seconds with a number it knows: any other time, of an earlier boot or of a later change through a
second hard link, sends the file back to its checksums. No clock takes part.

The nanoseconds of that time are the checksum of a file of one block. A file of checksums beside
each small one was one more inode, page and entry of a folder: four system calls more to bring it
in, one more to evict it, and twice the names for a census. A file system that drops the nanoseconds
loses its small files at the next boot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

SECOND_NS = 10**9

# Whole even seconds survive every file system's rounding. The years 2000 to 2016 lie before
# anything a cached file could be changed at by accident.
_BEGIN_SECONDS = 946_684_800
_RANGE_SECONDS = 2**29


def boot_stamp_ns(boot: str) -> int:
    """The modification time, in nanoseconds, of files found sound during this boot."""
    number = int.from_bytes(hashlib.sha256(boot.encode()).digest()[:4], "big")
    return (_BEGIN_SECONDS + number % (_RANGE_SECONDS // 2) * 2) * SECOND_NS


def mark_of(checksums: Sequence[int]) -> int:
    """The nanoseconds that go with a stamp: of 2**32 checksums each has three others like it."""
    return checksums[0] % SECOND_NS if len(checksums) == 1 else 0


def is_marked(modified_ns: int, mark: int) -> bool:
    """Whether this is a stamp of any boot, with this mark."""
    seconds, nanoseconds = divmod(modified_ns, SECOND_NS)
    after = seconds - _BEGIN_SECONDS
    return nanoseconds == mark and 0 <= after < _RANGE_SECONDS and after % 2 == 0


def this_boot() -> str:
    """The kernel's name for the time since the machine started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
