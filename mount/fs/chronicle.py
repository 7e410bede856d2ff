"""Keyed records in a memory file that outlives whoever wrote them.

A record is there or it is not: a process that is killed in the middle of one leaves a tail that
the next one cuts off. What was replaced or dropped is garbage, and is left behind when there is
more of it than of the rest.
"""

from __future__ import annotations

import ctypes
import marshal
import mmap
import os
import threading
import zlib
from collections.abc import Iterator
from struct import Struct
from typing import Any, Self

_HEAD = Struct("=Q")  # where the records begin
_RECORD = Struct("=IIBQ")  # length of the value, checksum of the rest, deed, key
_PUT, _ADD, _DROP = 1, 2, 3
_PAGE = 4096
# So much garbage is not worth a copy of the rest.
_SLACK_BYTES = 1 << 20
# Offset and length of a record in one number.
_LENGTH_BITS = 24
_LENGTH = (1 << _LENGTH_BITS) - 1
_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02
# Sparse: a slot takes memory once it is used.
SLOTS = 1 << 23


class Chronicle:
    """What is to be known after the writer's death, by number; values are what `marshal` takes.

    `lookups` are counters that change too often for a record each. Any thread may write.
    """

    def __init__(self, fd: int, lookups: memoryview) -> None:
        self.lookups = lookups
        self._fd = fd
        self._lock = threading.Lock()
        # All under the lock: where the records of a key are, the oldest first.
        self._places: dict[int, list[int]] = {}
        self._start = _PAGE
        self._end = _PAGE
        self._live_bytes = 0

    @classmethod
    def open(cls, fd: int, lookups_fd: int) -> Self:
        """The chronicle in these memory files, with what an earlier process wrote."""
        if os.fstat(lookups_fd).st_size == 0:
            os.ftruncate(lookups_fd, SLOTS * 8)
        slots = memoryview(mmap.mmap(lookups_fd, SLOTS * 8)).cast("Q")
        chronicle = cls(fd, slots)
        chronicle._load()
        return chronicle

    def put(self, key: int, value: Any) -> None:
        """The one value of a key from now on."""
        self._append(_PUT, key, marshal.dumps(value))

    def add(self, key: int, value: Any) -> None:
        """One more value of a key."""
        self._append(_ADD, key, marshal.dumps(value))

    def drop(self, key: int) -> None:
        """Nothing about this key any more."""
        with self._lock:
            if key not in self._places:
                return
        self._append(_DROP, key, b"")

    def items(self) -> Iterator[tuple[int, list[Any]]]:
        """Every key with its values, in the order in which they were written."""
        with self._lock:
            region = os.pread(self._fd, self._end - self._start, self._start)
            places = {key: list(found) for key, found in self._places.items()}
        for key, found in places.items():
            yield key, [self._value(region, place) for place in found]

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        with self._lock:
            return self._end - self._start

    def _append(self, deed: int, key: int, value: bytes) -> None:
        length = len(value)
        checksum = zlib.crc32(value, key & 0xFFFFFFFF)
        record = _RECORD.pack(length, checksum, deed, key) + value
        with self._lock:
            os.pwrite(self._fd, record, self._end)
            self._take(deed, key, self._end, len(record))
            self._end += len(record)
            if self._end - self._start > 2 * self._live_bytes + _SLACK_BYTES:
                self._leave_garbage()

    def _take(self, deed: int, key: int, offset: int, length: int) -> None:
        place = offset << _LENGTH_BITS | length
        before = self._places.pop(key, ()) if deed != _ADD else ()
        for one in before:
            self._live_bytes -= one & _LENGTH
        if deed == _PUT:
            self._places[key] = [place]
        elif deed == _ADD:
            self._places.setdefault(key, []).append(place)
        if deed != _DROP:
            self._live_bytes += length

    def _leave_garbage(self) -> None:
        """Copy what counts behind the rest, and make that the chronicle by one write."""
        region = os.pread(self._fd, self._end - self._start, self._start)
        start = -(-self._end // _PAGE) * _PAGE
        records: list[bytes] = []
        places: dict[int, list[int]] = {}
        at = start
        for key, found in self._places.items():
            for place in found:
                offset, length = (place >> _LENGTH_BITS) - self._start, place & _LENGTH
                records.append(region[offset : offset + length])
                places.setdefault(key, []).append(at << _LENGTH_BITS | length)
                at += length
        _write_all(self._fd, b"".join(records), start)
        os.pwrite(self._fd, _HEAD.pack(start), 0)
        before, self._start, self._end, self._places = self._start, start, at, places
        libc = ctypes.CDLL(None)
        # Refused, the memory stays taken, which is all.
        libc.fallocate(
            self._fd,
            _KEEP_SIZE_AND_PUNCH_HOLE,
            ctypes.c_int64(before),
            ctypes.c_int64(start - before),
        )

    def _load(self) -> None:
        size = os.fstat(self._fd).st_size
        if size == 0:
            os.pwrite(self._fd, _HEAD.pack(_PAGE), 0)
            return
        (self._start,) = _HEAD.unpack(os.pread(self._fd, _HEAD.size, 0))
        region = os.pread(self._fd, max(0, size - self._start), self._start)
        at = 0
        while at + _RECORD.size <= len(region):
            length, checksum, deed, key = _RECORD.unpack_from(region, at)
            value = region[at + _RECORD.size : at + _RECORD.size + length]
            if len(value) < length or zlib.crc32(value, key & 0xFFFFFFFF) != checksum or not deed:
                break
            self._take(deed, key, self._start + at, _RECORD.size + length)
            at += _RECORD.size + length
        self._end = self._start + at
        # What follows was never finished; behind later records it would be taken for one.
        os.ftruncate(self._fd, self._end)

    def _value(self, region: bytes, place: int) -> Any:
        offset, length = (place >> _LENGTH_BITS) - self._start, place & _LENGTH
        return marshal.loads(region[offset + _RECORD.size : offset + length])  # noqa: S302  # written above


def _write_all(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
