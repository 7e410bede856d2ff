"""Pages of notes: lines of JSON in a folder, whole at any moment, however their writer ends.

The page that is written is a file mapped into memory: what is there stays there when the writer
is killed, and a line takes no system call. Full pages are compressed. Pages are named
`<section>-<number>`; the names are in the order of the writing.
"""

from __future__ import annotations

import gzip
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

PAGE_BYTES = 256 * 1024
# A line that says that something is missing; every page keeps room for it.
_GAP = b"null\n"
_OPEN, _FULL = ".page", ".gz"


class Page:
    """The page that is being written; used under a lock."""

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self._path = path
        self._memory = memory
        self._end = 0

    @classmethod
    def make(cls, folder: Path, section: int, number: int) -> Self:
        """An empty page; `OSError` where there is no room for all of it."""
        path = folder / f"{section:08}-{number:08}{_OPEN}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Storing to a mapped page that the disk has no room for would kill the process.
            os.posix_fallocate(fd, 0, PAGE_BYTES)
            return cls(path, mmap.mmap(fd, PAGE_BYTES))
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)

    def add(self, line: bytes) -> bool:
        """Write a line, without its end; False when there is no room for it."""
        end = self._end + len(line)
        if end + 1 + len(_GAP) > PAGE_BYTES:
            return False
        self._memory[self._end : end] = line
        # Last, so that a line with an end is whole.
        self._memory[end] = 0x0A
        self._end = end + 1
        return True

    def add_gap(self) -> None:
        """Write that something is missing from here on."""
        end = self._end + len(_GAP)
        self._memory[self._end : end] = _GAP
        self._end = end

    def close(self) -> None:
        """Compress what is there and give the rest back; nothing is written any more."""
        text = self._memory[: self._end]
        self._memory.close()
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(gzip.compress(text, compresslevel=1, mtime=0))
        fresh.replace(self._path.with_suffix(_FULL))
        # Whoever needs no earlier sections may have dropped it.
        self._path.unlink(missing_ok=True)


def last_page(folder: Path) -> tuple[int, int]:
    """Section and number of the last page here; zeros where there is none."""
    names = _names(folder)
    if not names:
        return 0, 0
    section, _, number = names[-1].partition("-")
    return int(section), int(number)


def page_after(folder: Path, since: int, after: str) -> tuple[str, bytes] | None:
    """The next page after one of that name, from a section on, with its lines; None at the end."""
    first = max(f"{since:08}", after)
    name = next((one for one in _names(folder) if one > first), None)
    return None if name is None else (name, _text(folder, name))


def save_page(folder: Path, name: str, text: bytes) -> None:
    """A copy of somebody else's page."""
    (folder / f"{name}{_FULL}").write_bytes(gzip.compress(text, compresslevel=1, mtime=0))


def add_gap(folder: Path) -> None:
    """Let the readers of the last section know that something is missing at its end."""
    section, number = last_page(folder)
    save_page(folder, f"{section:08}-{number + 1:08}", _GAP)


def drop_pages(folder: Path, before: int) -> None:
    """Remove the pages of earlier sections."""
    for name in _names(folder):
        if name < f"{before:08}":
            for ending in (_OPEN, _FULL):
                (folder / f"{name}{ending}").unlink(missing_ok=True)


def lines(folder: Path) -> Iterator[bytes]:
    """All lines in the order of their writing, with their ends; `Gap` where some are missing."""
    names = _names(folder)
    if not names:
        raise Gap
    for name in names:
        for line in _text(folder, name).splitlines(keepends=True):
            if line == _GAP:
                raise Gap
            yield line


class Gap(Exception):  # not an error of anybody's: the answer is that it is not known
    """What was noted is not everything."""


def _names(folder: Path) -> list[str]:
    found = (one for one in folder.iterdir() if one.suffix in {_OPEN, _FULL})
    return sorted({one.stem for one in found})


def _text(folder: Path, name: str) -> bytes:
    try:
        return gzip.decompress((folder / f"{name}{_FULL}").read_bytes())
    except FileNotFoundError:
        pass
    try:
        raw = (folder / f"{name}{_OPEN}").read_bytes()
    except FileNotFoundError:
        # It was compressed meanwhile.
        return gzip.decompress((folder / f"{name}{_FULL}").read_bytes())
    return raw[: raw.rfind(b"\n") + 1]
