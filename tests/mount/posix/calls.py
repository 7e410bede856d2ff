"""System calls and what came of them, written down so that two folders can be compared."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable
from typing import Any

LONGEST_SHOWN = 80


class Calls:
    """Makes calls and notes each with its result, or with the name of its error."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """The call's result; None after an error."""
        words = [repr(one) for one in args] + [f"{name}={one!r}" for name, one in options.items()]
        said = f"{getattr(call, '__name__', call)}({', '.join(words)})"
        try:
            result = call(*args, **options)
        except OSError as error:
            self.note(said, errno.errorcode[error.errno or 0])
            return None
        self.note(said, result)
        return result

    def note(self, said: str, result: object) -> None:
        """Write down anything that both folders should agree on."""
        if isinstance(result, os.stat_result):
            result = shown(result)
        text = repr(result)
        if len(text) > LONGEST_SHOWN:
            text = f"{text[:LONGEST_SHOWN]}... {len(text)} {hash_of(text)}"
        self.notes.append(f"{said[:200]} -> {text}")


def shown(status: os.stat_result) -> str:
    """What of a stat is the same wherever the file is.

    Of folders neither size nor links: every file system counts those in its own way.
    """
    facts = [stat.filemode(status.st_mode), f"{status.st_uid}:{status.st_gid}"]
    if not stat.S_ISDIR(status.st_mode):
        facts += [f"{status.st_size} bytes", f"{status.st_nlink} links"]
    return " ".join(facts)


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return zlib.crc32(text.encode("utf-8", "surrogateescape"))


def put(name: str | bytes, data: bytes = b"", mode: int = 0o666) -> None:
    """A file with these bytes, as the ground for a case."""
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        assert os.write(fd, data) == len(data)
    finally:
        os.close(fd)


def got(name: str | bytes) -> bytes:
    """All bytes of a file."""
    fd = os.open(name, os.O_RDONLY)
    try:
        pieces = []
        while piece := os.read(fd, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def tree(place: str | bytes = ".") -> list[str]:
    """Everything below a folder with its attributes and a check sum of its bytes."""
    lines: list[str] = []
    for entry in sorted(os.scandir(os.fsencode(place)), key=lambda one: one.name):
        status = os.lstat(entry.path)
        assert stat.S_IFMT(status.st_mode) == stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
        assert entry.inode() == status.st_ino, entry.path
        line = f"{entry.path!r} {shown(status)}"
        if entry.is_symlink():
            line += f" to {os.readlink(entry.path)!r}"  # noqa: PTH115 - bytes
        elif entry.is_file():
            line += f" {hash_of(got(entry.path).decode('latin-1'))}"
        lines.append(line)
        if entry.is_dir(follow_symlinks=False):
            lines += tree(entry.path)
    return lines
