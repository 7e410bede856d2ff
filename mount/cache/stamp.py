"""The time a complete file carries instead of its last change: proof that nobody touched it since.

A file that entered the cache since the machine started is whole, because a killed process loses
nothing that it wrote; after a power cut or reset that is no longer so, and nothing was synced to
make it so (a sync per file would cost more than the fetch). So the modification time of every
admitted file names the boot in which its bytes were last known to be right. `find` compares it with
a number it knows: any other time, of an earlier boot or of a later change through a second hard
link, sends the file back to its checksums. No clock takes part.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

# Whole even seconds survive every file system's rounding. The years 2000 to 2016 lie before
# anything a cached file could be changed at by accident.
_BEGIN_SECONDS = 946_684_800
_RANGE_SECONDS = 2**29


def boot_stamp_ns(boot: str) -> int:
    """The modification time, in nanoseconds, of files found sound during this boot."""
    number = int.from_bytes(hashlib.sha256(boot.encode()).digest()[:4], "big")
    return (_BEGIN_SECONDS + number % (_RANGE_SECONDS // 2) * 2) * 10**9


def this_boot() -> str:
    """The kernel's name for the time since the machine started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
