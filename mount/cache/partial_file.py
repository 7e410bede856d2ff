"""A file on its way: sparse data and a map of what is there, shared by every process that fills it.

Promises between the processes, all kept by two locks of flock(2):
- the data file's lock is held shared by everybody who has it open: it is not evicted meanwhile;
- the map's lock is held shared around each write and alone around the last rename, and under it
  everybody looks whether the data still has its partial name. So no byte of a file changes once it
  is complete, and bytes are in the data file before the map says so.
"""

from __future__ import annotations

import errno
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from datastores.transfer.disk import GENTLE_BYTES, write_at
from mount.cache import lease
from mount.cache.block_map import BlockMap, block_checksums
from mount.cache.contract import CachedFile, CacheKey
from mount.cache.held_file import HeldFile
from mount.cache.layout import (
    Place,
    has_head,
    is_at,
    make_parent,
    unlink_if_there,
    whole_pages,
)
from mount.cache.shelf import Shelf
from mount.cache.stamp import mark_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MAP_WAIT_SECONDS = 2.0
# Blocks are checked this many at a time: the memory of a check.
_CHECK_BLOCKS = 16


class Descriptors:
    """The open data and map of a file; closed when nobody who uses them is left.

    A method that is under way keeps its own reference, so that a `close` in another thread cannot
    hand its descriptor's number to a different file while it reads.
    """

    __slots__ = ("data", "map")

    def __init__(self, data: int, blocks: BlockMap) -> None:
        self.data = data
        self.map = blocks

    def __del__(self) -> None:
        os.close(self.data)
        os.close(self.map.fd)


class FillingFile:
    """The partial file of a version, opened by `begin_partial`."""

    def __init__(
        self, shelf: Shelf, key: CacheKey, name: str, data_fd: int, blocks: BlockMap
    ) -> None:
        self._open: Descriptors | None = Descriptors(data_fd, blocks)
        self._shelf = shelf
        self._key = key
        self._name = name
        self._place: Place = shelf.layout.place(name)
        self._data = data_fd
        self._map = blocks
        self._geometry = blocks.geometry
        self.block_bytes = self._geometry.block_bytes
        # One 1 per block whose bytes this handle wrote or checked; only ever set, except by whoever
        # finds a block damaged, so it needs no lock.
        self._sound = bytearray(self._geometry.blocks)
        # Writing and finishing, within this process: threads share the map's descriptor and so
        # its lock.
        self._turn = threading.Lock()

    def missing(self, start: int, length: int) -> Sequence[tuple[int, int]]:
        first, count = self._covering(start, length)
        if not count or self._sound.find(0, first, first + count) < 0:
            return []
        files = self._open
        try:
            there = self._map.checksums(first, count) if files else [None] * count
        except OSError as error:
            self._shelf.trouble.note("read a map", error)
            there = [None] * count
        return [
            (begin * self.block_bytes, self._geometry.length(begin, run))
            for begin, run in _runs([checksum is None for checksum in there], first)
        ]

    def write(self, start: int, *pieces: Buffer) -> None:
        views = self._aligned(start, [memoryview(piece).cast("B") for piece in pieces])
        if not views:
            return
        checksums = [one for view in views for one in block_checksums(view, self._geometry)]
        files = self._open
        try:
            with self._turn, self._writing(files) as allowed:
                if allowed:
                    self._write_missing(-(-start // self.block_bytes), views, checksums)
        except OSError as error:
            self._shelf.trouble.note("write blocks", error)

    def note_written(self, start: int, length: int) -> None:
        first = -(-start // self.block_bytes)
        count = self._whole_blocks(first, start + length)
        if count <= 0 or not self._open:
            return
        try:
            there = self._map.checksums(first, count)
        except OSError as error:
            self._shelf.trouble.note("read a map", error)
            return
        for begin, run in _runs([checksum is not None for checksum in there], first):
            self._sound[begin : begin + run] = b"\1" * run

    def read(self, start: int, length: int) -> Buffer | None:
        length = min(length, self._key.size - start)
        if length <= 0:
            return b""
        first, count = self._covering(start, length)
        files = self._open
        try:
            if files is None or not self._check(first, count):
                return None
            data = os.pread(self._data, length, start)
        except OSError as error:
            self._shelf.trouble.note("read blocks", error)
            return None
        return data if len(data) == length else None

    def finish(self) -> CachedFile | None:
        blocks = self._geometry.blocks
        files = self._open
        try:
            if files is None or not self._check(0, blocks):
                return None
            with self._turn, self._changing() as attached:
                checksums = self._map.checksums(0, blocks) if attached else [None]
                if None not in checksums:
                    with suppress(FileExistsError):
                        return self._publish(mark_of([one or 0 for one in checksums]))
                    self._shelf.drop_superfluous(self._name)
            fd = self._shelf.open_complete(self._key, self._name)
        except OSError as error:
            self._shelf.trouble.note("finish a file", error)
            return None
        return None if fd is None else HeldFile(fd, self._place.data)

    def audit(self) -> tuple[int, int]:
        """Check every block that is there: how many were damaged and taken out, and bytes read."""
        damaged = read_bytes = 0
        for number in range(self._geometry.blocks):
            if self._map.checksums(number, 1) != [None]:
                read_bytes += self._geometry.length(number)
                self._sound[number] = 0
                damaged += not self._check(number, 1)
        return damaged, read_bytes

    def close(self) -> None:
        self._open = None

    def __del__(self) -> None:
        if self._open is not None:
            warnings.warn(
                f"partial file {self._name} was not closed", ResourceWarning, stacklevel=2
            )
            self.close()

    def _publish(self, mark: int) -> CachedFile:
        """Give the file its complete name; the caller owns the map alone."""
        fd = os.open(self._place.partial, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not lease.share(fd):
                raise OSError(errno.EAGAIN, "a file in use is owned by somebody else")  # noqa: TRY301 - one clean-up for all causes
            self._shelf.seal(fd, mark)
            make_parent(self._place.data)
            # Links, so that a process killed between any two steps leaves either the whole partial
            # file or the whole complete one, and a file that others hold is never replaced.
            if has_head(self._key.size):
                unlink_if_there(self._place.head)
                os.link(self._place.map, self._place.head)
            os.link(self._place.partial, self._place.data)
            os.unlink(self._place.partial)  # noqa: PTH108  # text paths here
        except BaseException:
            os.close(fd)
            raise
        unlink_if_there(self._place.map)
        return HeldFile(fd, self._place.data)

    def _aligned(self, start: int, views: Sequence[memoryview]) -> Sequence[memoryview]:
        """The whole blocks of these bytes, in pieces of whole blocks."""
        end = start + sum(map(len, views))
        first = -(-start // self.block_bytes)
        count = self._whole_blocks(first, end)
        if count <= 0:
            return ()
        begin, length = first * self.block_bytes, self._geometry.length(first, count)
        if (begin, begin + length) == (start, end) and not any(
            len(view) % self.block_bytes for view in views[:-1]
        ):
            return views
        whole = views[0] if len(views) == 1 else memoryview(b"".join(views))
        return (whole[begin - start :][:length],)

    def _write_missing(
        self, first: int, views: Sequence[memoryview], checksums: Sequence[int]
    ) -> None:
        there = self._map.checksums(first, len(checksums))
        for begin, run in _runs([checksum is None for checksum in there], first):
            length = self._geometry.length(begin, run)
            charge = whole_pages(length)
            if not self._shelf.room.take(charge):
                return
            at = (begin - first) * self.block_bytes
            try:
                _write_all(self._data, _cut(views, at, at + length), begin * self.block_bytes)
                self._map.record(begin, checksums[begin - first : begin - first + run])
            except OSError:
                # Some of it may lie on the disk; the next census counts that.
                self._shelf.room.give(charge)
                raise
            self._sound[begin : begin + run] = b"\1" * run

    def _check(self, first: int, count: int) -> bool:
        """Whether blocks are there and are what their checksums say; each is read for it once."""
        end = first + count
        at = self._sound.find(0, first, end)
        while at >= 0:
            if not self._check_few(at, min(_CHECK_BLOCKS, end - at)):
                return False
            at = self._sound.find(0, at, end)
        return True

    def _check_few(self, first: int, count: int) -> bool:
        there = self._map.checksums(first, count)
        if None in there:
            return False
        data = memoryview(self._pread_blocks(first, count))
        found = block_checksums(data, self._geometry)
        damaged = [
            first + at
            for at in range(count)
            if at >= len(found) or (found[at] != there[at] and not self._sound[first + at])
        ]
        for number in damaged:
            self._take_out(number)
        if not damaged:
            self._sound[first : first + count] = b"\1" * count
        return not damaged

    def _take_out(self, number: int) -> None:
        with self._turn, self._changing() as attached:
            if not attached:
                # It became complete, or was dropped, since this handle was opened.
                self._shelf.drop_complete(self._data, self._name)
                return
            there = self._map.checksums(number, 1)
            if block_checksums(memoryview(self._pread_blocks(number, 1)), self._geometry) != there:
                self._map.erase(number)
                self._sound[number] = 0
                self._shelf.room.give(whole_pages(self._geometry.length(number)))

    def _pread_blocks(self, first: int, count: int) -> bytes:
        return os.pread(self._data, self._geometry.length(first, count), first * self.block_bytes)

    @contextmanager
    def _writing(self, files: Descriptors | None) -> Iterator[bool]:
        """The map held together with other writers; False when there is nothing to write to."""
        held = files is not None and lease.share(self._map.fd, _MAP_WAIT_SECONDS)
        try:
            yield held and self._is_attached()
        finally:
            if held:
                lease.let_go(self._map.fd)

    @contextmanager
    def _changing(self) -> Iterator[bool]:
        """The map held alone, for taking out blocks and for the end."""
        held = lease.own(self._map.fd, _MAP_WAIT_SECONDS)
        try:
            yield held and self._is_attached()
        finally:
            if held:
                lease.let_go(self._map.fd)

    def _is_attached(self) -> bool:
        stat = os.fstat(self._data)
        # A second name is the complete one, of somebody who was killed while he finished.
        return stat.st_nlink == 1 and is_at(stat, self._place.partial)

    def _covering(self, start: int, length: int) -> tuple[int, int]:
        end = min(start + length, self._key.size)
        first = start // self.block_bytes
        return first, max(0, -(-end // self.block_bytes) - first) if length > 0 else 0

    def _whole_blocks(self, first: int, end: int) -> int:
        """How many blocks from `first` lie wholly before `end`; the last one ends with the file."""
        last = self._geometry.blocks if end >= self._key.size else end // self.block_bytes
        return last - first


def _runs(wanted: Sequence[bool], first: int) -> Iterator[tuple[int, int]]:
    """Begin and length of each run of True, numbered from `first`."""
    begin = None
    for number, is_wanted in enumerate(wanted, first):
        if is_wanted and begin is None:
            begin = number
        elif not is_wanted and begin is not None:
            yield begin, number - begin
            begin = None
    if begin is not None:
        yield begin, first + len(wanted) - begin


def _cut(views: Sequence[memoryview], start: int, end: int) -> Sequence[memoryview]:
    """The bytes from `start` to `end` of what these hold together."""
    cut: list[memoryview] = []
    at = 0
    for view in views:
        if part := view[max(0, start - at) : max(0, end - at)]:
            cut.append(part)
        at += len(view)
    return cut


def _write_all(fd: int, views: Sequence[memoryview], at: int) -> None:
    for view in views:
        write_at(fd, view, at, GENTLE_BYTES)
        at += len(view)
