"""What a file share holds, in memory: folders, files, sparse bytes, ETags. Knows no HTTP.

Names keep their capitals and ignore them when compared, as the service's do.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

CHUNK = 64 * 1024
FORBIDDEN = frozenset('"\\/:|<>*?\x81') | {chr(code) for code in range(0x20)}
_versions = itertools.count(0x8DC000000000001)


class Refused(Exception):
    """The service's answer to a request it does not grant: status, code, sentence."""

    def __init__(self, status: int, code: str, sentence: str = "", detail: str = "") -> None:
        self.status, self.code, self.detail = status, code, detail
        self.sentence = sentence or code
        super().__init__(f"{status} {code}")


def folded(name: str) -> str:
    """The name without capitals, letter by letter, so that no length changes."""
    return "".join(c.upper() if len(c.upper()) == 1 else c for c in name)


def new_etag() -> str:
    return f'"0x{next(_versions):X}"'


class SparseBytes:
    """A file's bytes, kept in chunks where something was written and zero elsewhere."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._chunks: dict[int, bytearray] = {}
        self._written: list[tuple[int, int]] = []

    def write(self, start: int, data: bytes) -> None:
        for number, begin, end, at in self._pieces(start, start + len(data)):
            chunk = self._chunks.setdefault(number, bytearray(CHUNK))
            chunk[begin:end] = data[at : at + end - begin]
        self._mark(start, start + len(data), filled=True)

    def clear(self, start: int, stop: int) -> None:
        for number, begin, end, _ in self._pieces(start, stop):
            if number in self._chunks:
                self._chunks[number][begin:end] = bytes(end - begin)
        self._mark(start, stop, filled=False)

    def read(self, start: int, stop: int) -> bytes:
        return b"".join(
            bytes(self._chunks[number][begin:end]) if number in self._chunks else bytes(end - begin)
            for number, begin, end, _ in self._pieces(start, stop)
        )

    def resize(self, size: int) -> None:
        if size < self.size:
            self.clear(size, self.size)
        self.size = size

    def ranges(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The written parts that overlap, as half-open pairs in order."""
        return [(max(a, start), min(b, stop)) for a, b in self._written if a < stop and b > start]

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        at = start
        while at < stop:
            number, begin = divmod(at, CHUNK)
            end = min(CHUNK, begin + stop - at)
            yield number, begin, end, at - start
            at += end - begin

    def _mark(self, start: int, stop: int, *, filled: bool) -> None:
        kept = [
            part
            for a, b in self._written
            for part in ((a, min(b, start)), (max(a, stop), b))
            if part[0] < part[1]
        ]
        if filled and start < stop:
            kept.append((start, stop))
        merged: list[tuple[int, int]] = []
        for a, b in sorted(kept):
            if merged and merged[-1][1] == a:
                merged[-1] = (merged[-1][0], b)
            else:
                merged.append((a, b))
        self._written = merged


@dataclass
class Copy:
    """How a server-side copy is getting on; it reports "pending" for so many more looks."""

    id: str
    source: str
    size: int
    looks_left: int

    @property
    def status(self) -> str:
        return "pending" if self.looks_left > 0 else "success"


@dataclass
class Entry:
    """What files and folders have in common."""

    name: str
    metadata: dict[str, str] = field(default_factory=dict)
    etag: str = field(default_factory=new_etag)
    created_ns: int = field(default_factory=time.time_ns)
    written_ns: int = field(default_factory=time.time_ns)

    def touch(self) -> None:
        self.etag, self.written_ns = new_etag(), time.time_ns()


@dataclass
class File(Entry):
    """A file: bytes, and the headers the writer gave for it."""

    data: SparseBytes = field(default_factory=lambda: SparseBytes(0))
    headers: dict[str, str] = field(default_factory=dict)
    copy: Copy | None = None


@dataclass
class Folder(Entry):
    """A folder; its entries are found by their names without capitals."""

    entries: dict[str, Entry] = field(default_factory=dict)


class Share:
    """One share: a root folder and the operations on paths below it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = Folder("")

    def find(self, path: Sequence[str]) -> Entry:
        entry: Entry = self.root
        for depth, name in enumerate(path):
            last = depth == len(path) - 1
            if not isinstance(entry, Folder) or folded(name) not in entry.entries:
                raise Refused(404, "ResourceNotFound" if last else "ParentNotFound")
            entry = entry.entries[folded(name)]
        return entry

    def folder(self, path: Sequence[str]) -> Folder:
        entry = self.find(path)
        if not isinstance(entry, Folder):
            raise Refused(409, "ResourceTypeMismatch")
        return entry

    def file(self, path: Sequence[str]) -> File:
        entry = self.find(path)
        if not isinstance(entry, File):
            raise Refused(409, "ResourceTypeMismatch")
        return entry

    def parent(self, path: Sequence[str]) -> Folder:
        check_path(path)
        parent = self.find(path[:-1]) if len(path) > 1 else self.root
        if not isinstance(parent, Folder):
            raise Refused(404, "ParentNotFound")
        return parent

    def make_folder(self, path: Sequence[str]) -> Folder:
        parent, name = self.parent_or_missing(path), path[-1]
        there = parent.entries.get(folded(name))
        if isinstance(there, File):
            raise Refused(409, "ResourceTypeMismatch")
        if there:
            raise Refused(409, "ResourceAlreadyExists")
        made = Folder(name)
        parent.entries[folded(name)] = made
        return made

    def put_file(self, path: Sequence[str], file: File) -> None:
        parent = self.parent_or_missing(path)
        if isinstance(parent.entries.get(folded(file.name)), Folder):
            raise Refused(409, "ResourceTypeMismatch")
        parent.entries[folded(file.name)] = file

    def remove_file(self, path: Sequence[str]) -> None:
        file = self.file(path)
        del self.parent(path).entries[folded(file.name)]

    def remove_folder(self, path: Sequence[str]) -> None:
        folder = self.folder(path)
        if folder.entries:
            raise Refused(409, "DirectoryNotEmpty")
        del self.parent(path).entries[folded(folder.name)]

    def rename(self, source: Sequence[str], target: Sequence[str], *, replace: bool) -> Entry:
        """Move an entry; only a file gives way, and only to a file that asks for it."""
        entry = self.find(source)
        parent = self.parent_or_missing(target)
        there = parent.entries.get(folded(target[-1]))
        if there is not None and there is not entry:
            if isinstance(there, Folder) != isinstance(entry, Folder):
                raise Refused(409, "ResourceTypeMismatch")
            if isinstance(there, Folder) or not replace:
                raise Refused(409, "ResourceAlreadyExists")
        if isinstance(entry, Folder) and [folded(name) for name in target[: len(source)]] == [
            folded(name) for name in source
        ]:
            raise Refused(400, "InvalidInput", "a directory cannot move into itself")
        del self.parent(source).entries[folded(entry.name)]
        entry.name, entry.etag = target[-1], new_etag()
        parent.entries[folded(entry.name)] = entry
        return entry

    def parent_or_missing(self, path: Sequence[str]) -> Folder:
        try:
            return self.parent(path)
        except Refused as refused:
            if refused.status == 404:
                raise Refused(404, "ParentNotFound") from refused
            raise


def check_path(path: Sequence[str]) -> None:
    """Refuse what the service refuses in names."""
    if len("/".join(path)) > 2048 or len(path) > 250:
        raise Refused(400, "InvalidResourceName", "The path is too long.")
    for name in path:
        if not name or name in (".", "..") or len(name) > 255 or FORBIDDEN & set(name):
            raise Refused(400, "InvalidResourceName")
