"""A folder of this machine, a mount or not: the same calls as the model's, made by the kernel."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.mount.differential.model import Stat

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
PIECE_BYTES = 128 * 1024


class Disk:
    """What the system calls answer below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fds: dict[int, int] = {}

    def open(self, slot: int, path: str, flags: int) -> None:
        self.fds[slot] = os.open(self._at(path), flags | os.O_CLOEXEC, 0o644)

    def close(self, slot: int) -> None:
        os.close(self.fds.pop(slot))

    def pread(self, slot: int, offset: int, size: int) -> bytes:
        return _pread(self.fds[slot], offset, size)

    def pwrite(self, slot: int, offset: int, data: bytes) -> int:
        return os.pwrite(self.fds[slot], data, offset)

    def ftruncate(self, slot: int, size: int) -> None:
        os.ftruncate(self.fds[slot], size)

    def fsync(self, slot: int) -> None:
        os.fsync(self.fds[slot])

    def fsize(self, slot: int) -> int:
        return os.fstat(self.fds[slot]).st_size

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self._at(path), size)

    def read(self, path: str) -> bytes:
        fd = os.open(self._at(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _pread(fd, 0, 1 << 30)
        finally:
            os.close(fd)

    def write(self, path: str, data: bytes) -> None:
        self._save(path, os.O_TRUNC, data)

    def append(self, path: str, data: bytes) -> None:
        self._save(path, os.O_APPEND, data)

    def unlink(self, path: str) -> None:
        self._at(path).unlink()

    def mkdir(self, path: str) -> None:
        self._at(path).mkdir(0o755)

    def rmdir(self, path: str) -> None:
        self._at(path).rmdir()

    def rename(self, path: str, new_path: str) -> None:
        self._at(path).rename(self._at(new_path))

    def symlink(self, target: str, path: str) -> None:
        self._at(path).symlink_to(target)

    def readlink(self, path: str) -> str:
        return str(self._at(path).readlink())

    def chmod(self, path: str, mode: int) -> None:
        self._at(path).chmod(mode)

    def utime(self, path: str, mtime_ns: int) -> None:
        os.utime(self._at(path), ns=(mtime_ns, mtime_ns))

    def listdir(self, path: str) -> list[str]:
        return sorted(one.name for one in self._at(path).iterdir())

    def lstat(self, path: str) -> Stat:
        status = self._at(path).lstat()
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        return Stat(
            kind,
            None if kind == "folder" else status.st_size,
            None if kind == "link" else stat.S_IMODE(status.st_mode),
            status.st_mtime_ns if kind == "file" else None,
        )

    def close_all(self) -> None:
        for slot in list(self.fds):
            self.close(slot)

    def put_by_another(self, path: str, data: bytes) -> None:
        """As another client's change looks here: a new file in the old one's place."""
        at = self._at(path)
        at.parent.mkdir(parents=True, exist_ok=True)
        aside = self.root.with_name(f"{self.root.name}-aside")
        aside.write_bytes(data)
        aside.rename(at)

    def delete_by_another(self, path: str) -> None:
        self._at(path).unlink()

    def _save(self, path: str, how: int, data: bytes) -> None:
        fd = os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o644)
        try:
            done = os.write(fd, data)
        finally:
            os.close(fd)
        assert done == len(data)

    def _at(self, path: str) -> Path:
        return self.root / path


def _pread(fd: int, offset: int, size: int) -> bytes:
    pieces = []
    while size and (piece := os.pread(fd, min(size, PIECE_BYTES), offset)):
        pieces.append(piece)
        offset, size = offset + len(piece), size - len(piece)
    return b"".join(pieces)
