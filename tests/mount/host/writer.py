"""Writes files and remembers, outside the mount, what it was told is stored.

Usage: python -m tests.mount.host.writer FOLDER LIST SEED MORTAL
Each line of LIST is `try NAME DIGEST` before a file may have these bytes, `done NAME DIGEST` when
close or fsync has said so, `gone NAME -` when it may have no bytes any more. It writes until its
standard input ends. With MORTAL "host" the mount may go away, which ends it quietly; otherwise
every error of a call ends it with a trace.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# What a caller gets when a host is dead, and in the moment when it dies.
DEAD = {errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.EIO, errno.ENOENT}
LARGEST = 300_000
HUGE = 20 << 20


class Notes:
    """The list; each line is on the disk before the next call."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, word: str, path: Path, body: bytes | None = None) -> None:
        digest = "-" if body is None else hashlib.sha256(body).hexdigest()
        os.write(self._fd, f"{word} {path.name} {digest}\n".encode())
        os.fsync(self._fd)


def main(folder: str, notes_at: str, seed: str, mortal: str) -> None:
    chance, notes = random.Random(seed), Notes(Path(notes_at))
    number = 0
    try:
        while not select.select([sys.stdin], [], [], 0)[0]:
            act = chance.choice(ACTS)
            act(Path(folder) / f"{seed}-{number}", notes, chance)
            number += 1
    except OSError as error:
        if mortal != "host" or error.errno not in DEAD:
            raise


def write_and_close(path: Path, notes: Notes, chance: random.Random) -> None:
    body = _body(chance)
    notes.write("try", path, body)
    with path.open("wb", buffering=chance.choice([0, 4096, 1 << 20])) as file:
        file.write(body)
    notes.write("done", path, body)


def sync_and_go_on(path: Path, notes: Notes, chance: random.Random) -> None:
    body = _body(chance)
    with _open(path, os.O_WRONLY | os.O_CREAT) as fd:
        for _ in range(chance.randrange(1, 4)):
            notes.write("try", path, body)
            _write(fd, body, 0)
            os.fsync(fd)
            notes.write("done", path, body)
            more = _body(chance)
            notes.write("try", path, body + more)
            _write(fd, more, len(body))
            body += more
    notes.write("done", path, body)


def write_aside_and_rename(path: Path, notes: Notes, chance: random.Random) -> None:
    body, aside = _body(chance), path.with_name(path.name + ".tmp")
    notes.write("try", path, body)
    aside.write_bytes(body)
    aside.rename(path)
    notes.write("done", path, body)


def rename_while_open(path: Path, notes: Notes, chance: random.Random) -> None:
    body, aside = _body(chance), path.with_name(path.name + ".tmp")
    notes.write("try", path, body)
    with _open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
        _write(fd, body, 0)
        if chance.random() < 0.5:
            os.fsync(fd)
        aside.rename(path)
        body += b"the end"
        notes.write("try", path, body)
        _write(fd, b"the end", len(body) - 7)
    notes.write("done", path, body)


def append_to_what_is_there(path: Path, notes: Notes, chance: random.Random) -> None:
    body = b""
    for _ in range(chance.randrange(2, 5)):
        more = _body(chance)
        notes.write("try", path, body)
        notes.write("try", path, body + more)
        with path.open("ab", buffering=0) as file:
            file.write(more)
        body += more
        notes.write("done", path, body)


def write_over_and_cut(path: Path, notes: Notes, chance: random.Random) -> None:
    write_and_close(path, notes, chance)
    body = path.read_bytes()
    half = body[: len(body) // 2] + b"!"
    notes.write("try", path, half)
    with path.open("r+b", buffering=0) as file:
        file.seek(len(body) // 2)
        file.write(b"!")
        file.truncate()
    notes.write("done", path, half)


def write_and_delete(path: Path, notes: Notes, chance: random.Random) -> None:
    write_and_close(path, notes, chance)
    notes.write("gone", path)
    path.unlink()


def write_something_huge(path: Path, notes: Notes, chance: random.Random) -> None:
    if chance.random() < 0.9:
        return
    body = chance.randbytes(1 << 16) * (HUGE // (1 << 16))
    notes.write("try", path, body)
    with path.open("wb", buffering=1 << 20) as file:
        file.write(body)
    notes.write("done", path, body)


Act = Callable[[Path, Notes, random.Random], None]
ACTS: list[Act] = [
    write_and_close,
    sync_and_go_on,
    write_aside_and_rename,
    rename_while_open,
    append_to_what_is_there,
    write_over_and_cut,
    write_and_delete,
    write_something_huge,
]


def _body(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 100, 5000, chance.randrange(LARGEST)]))


@contextlib.contextmanager
def _open(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise
    os.close(fd)


def _write(fd: int, body: bytes, at: int) -> None:
    view = memoryview(body)
    while view:
        taken = os.pwrite(fd, view, at)
        view, at = view[taken:], at + taken


if __name__ == "__main__":
    main(*sys.argv[1:])
