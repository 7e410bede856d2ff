"""The mounts of this host: which are ours, and which are dead."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from datastores.value import Value
from mount.fuse.options import SUBTYPE

MOUNTINFO = Path("/proc/self/mountinfo")
CONNECTIONS = Path("/sys/fs/fuse/connections")
# A dead connection answers at once; whoever takes longer is alive, however slow.
PROBE_SECONDS = 2.0


class MountLine(Value):
    """One mount, as the kernel lists it."""

    mountpoint: str
    device: tuple[int, int]
    kind: str
    source: str

    @property
    def connection(self) -> int:
        """Its number among the kernel's FUSE connections."""
        return self.device[1]

    @property
    def is_ours(self) -> bool:
        return self.kind == f"fuse.{SUBTYPE}"


def parse_mountinfo(text: str) -> list[MountLine]:
    """The lines of /proc/self/mountinfo. Pure."""
    lines: list[MountLine] = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, source, *_) = left.split(" "), right.split(" ")
        major, _, minor = fields[2].partition(":")
        lines.append(MountLine(_plain(fields[4]), (int(major), int(minor)), kind, _plain(source)))
    return lines


def find_mount(mountpoint: str) -> MountLine | None:
    """The topmost mount at a place."""
    wanted = os.path.realpath(os.path.dirname(os.path.abspath(mountpoint)))  # noqa: PTH100, PTH120 - the last part must not be touched: it may be dead
    place = os.path.join(wanted, os.path.basename(os.path.abspath(mountpoint)))  # noqa: PTH100, PTH118, PTH119 - as above
    found = [line for line in _mounts() if line.mountpoint == place]
    return found[-1] if found else None


def find_dead_mounts() -> Sequence[str]:
    """Places of our own mounts whose server is gone; each access there fails with ENOTCONN."""
    return [line.mountpoint for line in _mounts() if line.is_ours and _is_dead(line.mountpoint)]


def has_fusectl() -> bool:
    """Whether connections can be seen, and cut, here."""
    return any(line.kind == "fusectl" for line in _mounts())


def set_readahead(mountpoint: str, size_bytes: int) -> bool:
    """Let the kernel read this far ahead: it starts at 128 KiB whatever INIT says; root only."""
    line = find_mount(mountpoint)
    if line is None:
        return False
    major, minor = line.device
    try:
        Path(f"/sys/class/bdi/{major}:{minor}/read_ahead_kb").write_text(str(size_bytes // 1024))
    except OSError:
        return False
    return True


def _mounts() -> list[MountLine]:
    return parse_mountinfo(MOUNTINFO.read_text(errors="surrogateescape"))


def _is_dead(mountpoint: str) -> bool:
    # `stat` may be answered from the kernel's cache; STATFS is always sent. A mount that is alive
    # and stuck would hold the caller, hence the thread.
    answer: list[int] = []

    def probe() -> None:
        try:
            os.statvfs(mountpoint)
        except OSError as error:
            answer.append(error.errno or 0)

    thread = threading.Thread(target=probe, name="mount-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    # The second: it was cut while it was asked.
    return answer in ([errno.ENOTCONN], [errno.ECONNABORTED])


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
