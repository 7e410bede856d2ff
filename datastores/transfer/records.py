"""What the last transfer left at both ends, so that unchanged files are known by proof.

An append-only log in one hidden file. A line is written before its file gets its final name, in
one write on a file opened for appending, so several processes share a log and a kill loses
nothing; each line carries its own check, so a torn one is dropped. In memory a record is two
machine words, its text stays on disk: a million of them cost 16 MiB, and 50 more for the moment in
which the log is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path

from datastores.transfer.checksum import PREFERRED
from datastores.transfer.disk import RECORDS
from datastores.value import Value

try:
    import fcntl
except ImportError:  # pragma: no cover  # Windows: the log is not compacted there
    fcntl = None  # type: ignore[assignment]

_OFFSET_BITS = 40
_READ_BYTES = 1 << 20
# Below this a log is not worth rewriting.
_COMPACT_LINES = 10_000
_MOST_RECENT = 100_000


class Record(Value):
    """One file as it was when both ends were the same."""

    name: str
    # The place at the other end: a digest of store identity and key.
    origin: str
    size: int
    # The other end's version; None when the store has none, which proves nothing.
    version: str | None
    mtime_ns: int
    # The sum of each range of this length; empty when none were computed.
    range_bytes: int = 0
    checksums: tuple[int, ...] = ()
    algorithm: str = PREFERRED

    def proves(self, origin: str, size: int, version: str | None, local: os.stat_result) -> bool:
        """Whether both ends are still what they were when this was written."""
        return (
            version is not None
            and (self.origin, self.size, self.version) == (origin, size, version)
            and (local.st_size, local.st_mtime_ns) == (self.size, self.mtime_ns)
        )


def origin_of(identity: str, key: str) -> str:
    """The short name of a place in a store, for records and journals."""
    return hashlib.blake2b(f"{identity}\0{key}".encode(), digest_size=8).hexdigest()


class Records:
    """The log of one folder: read once when opened, appended to from any thread."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd
        # Hashes of names, sorted, and where their last lines begin; replaced whole.
        self._index: tuple[array[int], array[int]] = (array("Q"), array("Q"))
        self._lock = threading.Lock()
        # Under the lock: lines that came after the index was built, and where the next will be.
        self._recent: dict[int, int] = {}
        self._end = 0

    @classmethod
    def open(cls, folder: Path) -> Records:
        """The log of this folder, made if there is none."""
        path = folder / RECORDS
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        records = cls(path, os.open(path, flags, 0o666))
        try:
            lines = records.reload()
            if fcntl and lines > _COMPACT_LINES and lines > 2 * len(records._index[0]):
                records._compact()
            records._share()
            records._close_torn_line()
        except BaseException:
            records.close()
            raise
        return records

    def reload(self) -> int:
        """Read the whole log again; the number of its lines."""
        found: list[int] = []
        with self._lock:
            self._recent, self._end = {}, 0
            for offset, line in self._lines(0):
                name_hash = _hash_of_line(line)
                if name_hash is not None:
                    found.append(name_hash << _OFFSET_BITS | offset)
                self._end = offset + len(line) + 1
        found.sort()
        self._index = _last_of_each(found)
        return len(found)

    def find(self, name: str) -> Record | None:
        """The latest record of this name, whichever process wrote it."""
        name_hash = _hash(name)
        self._catch_up()
        offset = self._recent.get(name_hash)
        if offset is None:
            hashes, offsets = self._index
            at = bisect_right(hashes, name_hash) - 1
            if at < 0 or hashes[at] != name_hash:
                return None
            offset = offsets[at]
        for _, line in self._lines(offset):
            record = _parse(line)
            # Two names with one hash: the later one is found, the other is transferred again.
            return record if record and record.name == name else None
        return None

    def __iter__(self) -> Iterator[Record]:
        for offset in self._index[1]:
            for _, line in self._lines(offset):
                if (record := _parse(line)) is not None:
                    yield record
                break

    def add(self, record: Record) -> None:
        """Append a record; call it before the file gets its final name."""
        line = _format(record)
        if os.write(self._fd, line) < len(line):
            os.write(self._fd, b"\n")

    def renew(self) -> None:
        """In a forked child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _close_torn_line(self) -> None:
        # Otherwise the first new line would continue it and be dropped with it.
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")

    def _catch_up(self) -> None:
        if os.fstat(self._fd).st_size <= self._end:
            return
        with self._lock:
            # Our own lines come by here too; a million of them would be 100 MiB, so they are
            # forgotten now and then: nobody asks for what this very call has written.
            if len(self._recent) > _MOST_RECENT:
                self._recent.clear()
            for offset, line in self._lines(self._end):
                name_hash = _hash_of_line(line)
                if name_hash is not None:
                    self._recent[name_hash] = offset
                self._end = offset + len(line) + 1

    def _lines(self, offset: int) -> Iterator[tuple[int, bytes]]:
        # Small first reads: `find` wants one line.
        rest, step = b"", 4096 if offset else _READ_BYTES
        while chunk := os.pread(self._fd, step, offset + len(rest)):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield offset, line
                offset += len(line) + 1
            step = _READ_BYTES

    def _compact(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # somebody else writes to it; next time
        fresh = self._path.with_name(RECORDS + ".new")
        with fresh.open("wb") as file:
            for record in self:
                file.write(_format(record))
        fresh.replace(self._path)
        os.close(self._fd)
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.reload()

    def _share(self) -> None:
        # Held while the log is in use, so that nobody compacts it away from under a writer.
        if fcntl is not None:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return  # being compacted this moment: what is added is lost, and fetched again


def _last_of_each(found: list[int]) -> tuple[array[int], array[int]]:
    hashes, offsets = array("Q"), array("Q")
    mask = (1 << _OFFSET_BITS) - 1
    for at, entry in enumerate(found):
        # Only the last line of each name, which is the one furthest into the file.
        if at + 1 == len(found) or found[at + 1] >> _OFFSET_BITS != entry >> _OFFSET_BITS:
            hashes.append(entry >> _OFFSET_BITS)
            offsets.append(entry & mask)
    return hashes, offsets


def _hash(name: str) -> int:
    raw = os.fsencode(name)
    # Two CRCs would be cheaper, but for names of one length each follows from the other: 32 bits.
    return int.from_bytes(hashlib.blake2b(raw, digest_size=7).digest(), "big")


def _format(record: Record) -> bytes:
    # A JSON array, put together here: the encoder takes three times as long.
    version = "null" if record.version is None else _quoted(record.version)
    sums = "".join([f"{checksum:016x}" for checksum in record.checksums])
    body = (
        f'[{_quoted(record.name)},"{record.origin}",{record.size},{version},{record.mtime_ns},'
        f'{record.range_bytes},"{record.algorithm}","{sums}"]'
    ).encode()
    head = b"%014x %b" % (_hash(record.name), body)
    return b"%08x %b\n" % (zlib.crc32(head), head)


def _hash_of_line(line: bytes) -> int | None:
    try:
        if int(line[:8], 16) != zlib.crc32(memoryview(line)[9:]):
            return None
        return int(line[9:23], 16)
    except ValueError:
        return None


def _parse(line: bytes) -> Record | None:
    if _hash_of_line(line) is None:
        return None
    try:
        name, origin, size, version, mtime_ns, length, algorithm, sums = json.loads(line[24:])
        checksums = tuple(int(sums[at : at + 16], 16) for at in range(0, len(sums), 16))
        return Record(name, origin, size, version, mtime_ns, length, checksums, algorithm)
    except ValueError:
        return None
