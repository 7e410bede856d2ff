"""The file beside the data: which version it is, which blocks are there, and their checksums.

While a file fills it is the map; when the file is complete the same bytes are its head. It is read
and written with pread and pwrite only: a mapped file that somebody truncates kills the process.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Sequence

from xxhash import xxh3_64_intdigest

from mount.cache.contract import CacheKey
from mount.cache.layout import Geometry

# magic, bytes of the description, its checksum
_START = struct.Struct("<8sII")
_MAGIC = b"dscache2"
# Checksum and the checksum again under a mask with the block's number, so that an entry which was
# torn, zeroed or moved reads as absent and never as a checksum.
_ENTRY = struct.Struct("<II")
_MASK = 0x5EA1B10C
_LONGEST_DESCRIPTION = 64 * 1024

_ABSENT = bytes(_ENTRY.size)


class BlockMap:
    """One open map. Owns its descriptor; entries are seen by every process as soon as written."""

    def __init__(self, fd: int, geometry: Geometry, entries_at: int) -> None:
        self.fd = fd
        self.geometry = geometry
        self._entries_at = entries_at

    def checksums(self, first: int, count: int) -> list[int | None]:
        """One checksum per block; None where the block is not there."""
        raw = os.pread(self.fd, count * _ENTRY.size, self._entries_at + first * _ENTRY.size)
        found = [
            checksum if check == (checksum ^ _MASK ^ number) & 0xFFFFFFFF else None
            for number, (checksum, check) in enumerate(
                _ENTRY.iter_unpack(raw[: len(raw) // _ENTRY.size * _ENTRY.size]), first
            )
        ]
        return found + [None] * (count - len(found))

    def record(self, first: int, checksums: Sequence[int]) -> None:
        """Say that blocks are there. Only after their bytes are in the data file."""
        _write_all(self.fd, _entries(first, checksums), self._entries_at + first * _ENTRY.size)

    def erase(self, number: int) -> None:
        _write_all(self.fd, _ABSENT, self._entries_at + number * _ENTRY.size)


def open_map(path: str, key: CacheKey, flags: int = os.O_RDWR) -> BlockMap | None:
    """The map under this name if it is of this version and sound; None otherwise."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if (described := _described(fd)) == _description(key):
            return BlockMap(fd, Geometry.of(key.size), _entries_at(described))
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def map_bytes(key: CacheKey, checksums: Sequence[int] | None = None) -> bytes:
    """A whole map: of a complete file when checksums are given, of an empty one otherwise."""
    description = _description(key)
    start = _START.pack(_MAGIC, len(description), _check(description)) + description
    start = start.ljust(_entries_at(description), b"\0")
    if checksums is None:
        return start + bytes(Geometry.of(key.size).blocks * _ENTRY.size)
    return start + _entries(0, checksums)


def read_key(path: str) -> CacheKey | None:
    """The version a map or head says it belongs to; None if it cannot be believed."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        described = _described(fd)
    finally:
        os.close(fd)
    if described is None:
        return None
    store, key, version, size = json.loads(described)
    return CacheKey(store, key, version, size)


def block_checksums(data: memoryview, geometry: Geometry) -> list[int]:
    """The checksum of each block in a run of whole blocks."""
    # XXH3 runs at 20 GB/s, zlib's CRC-32 at 1.7, which was 60 us of each file of 100 KiB and half
    # a second of each GiB. It guards against torn and lost writes, not against an adversary, who
    # could change the map as well.
    step = geometry.block_bytes
    if len(data) <= step:
        return [_checksum(data)] if len(data) else []
    return [_checksum(data[at : at + step]) for at in range(0, len(data), step)]


def _checksum(block: memoryview) -> int:
    return xxh3_64_intdigest(block) & 0xFFFFFFFF


def _described(fd: int) -> bytes | None:
    start = os.pread(fd, 4096, 0)
    if len(start) < _START.size:
        return None
    magic, length, checksum = _START.unpack_from(start)
    if magic != _MAGIC or length > _LONGEST_DESCRIPTION:
        return None
    end = _START.size + length
    described = start[_START.size : end]
    if len(start) < end:
        described = os.pread(fd, length, _START.size)
    return described if _check(described) == checksum else None


def _check(description: bytes) -> int:
    # Not of the description alone: the checksum of nothing is zero, and zeros are what is lost.
    return zlib.crc32(description, zlib.crc32(_MAGIC))


def _description(key: CacheKey) -> bytes:
    return json.dumps([key.store, key.key, key.version, key.size]).encode()


def _entries_at(description: bytes) -> int:
    return -(-(_START.size + len(description)) // _ENTRY.size) * _ENTRY.size


def _entries(first: int, checksums: Sequence[int]) -> bytes:
    return b"".join(
        _ENTRY.pack(checksum, (checksum ^ _MASK ^ number) & 0xFFFFFFFF)
        for number, checksum in enumerate(checksums, first)
    )


def _write_all(fd: int, data: bytes, at: int) -> None:
    if os.pwrite(fd, data, at) != len(data):
        raise OSError(errno.EIO, "the map was written in part")
