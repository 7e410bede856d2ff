"""Facts about the machine and the moment, without which a figure means nothing."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from pathlib import Path

from benchmarks.peers.peer import processors


def describe_machine() -> dict[str, str | int | float]:
    """What a reader of the figures needs to know; no host names, no paths."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "processor": _find(r"model name\s*:\s*(.+)", "/proc/cpuinfo"),
        "processors": processors(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "system": _find(r'PRETTY_NAME="(.+)"', "/etc/os-release"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _find(pattern: str, path: str) -> str:
    found = re.search(pattern, Path(path).read_text())
    return found[1].strip() if found else "unknown"


def touch_memory(folder: Path, size: int) -> None:
    """Fill and free as much memory as the largest run will.

    A virtual machine is given its memory on first touch: the first 2 GiB written here took 4.9 s,
    the next time 0.7 s. Without this, whoever runs first would pay for everybody.
    """
    path = folder / "touched"
    piece = bytes(1 << 20)
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(size >> 20):
                file.write(piece)
    finally:
        path.unlink(missing_ok=True)
