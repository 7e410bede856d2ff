"""Which process holds the lock on a file, where the system tells."""

from __future__ import annotations

from pathlib import Path

from datastores.text import printable

_LOCKS, _PROCESSES = Path("/proc/locks"), Path("/proc")


def holder(path: Path) -> str:
    """`process 12 (python)` for whoever has a write lock on the file; nothing if nobody knows."""
    try:
        inode = path.stat().st_ino
        for line in _LOCKS.read_text().splitlines():
            # 1: POSIX ADVISORY WRITE 4711 08:01:123456 120 120; those who wait have an arrow.
            fields = line.split()
            if (
                len(fields) < 6
                or fields[3] != "WRITE"
                or fields[5].rpartition(":")[2] != str(inode)
            ):
                continue
            if int(fields[4]) > 0:  # others are outside of this container
                return f"process {fields[4]}{_name(fields[4])}"
    except OSError:  # not Linux, or it ended meanwhile
        return ""
    return ""


def _name(number: str) -> str:
    name = (_PROCESSES / number / "comm").read_text().strip()
    return f" ({printable(name)})" if name else ""
