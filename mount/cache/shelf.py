"""One cache folder as this process sees it: names, room, proof of soundness, troubles."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from datastores.value import Value, field
from mount.cache import lease
from mount.cache.block_map import block_checksums, open_map
from mount.cache.contract import CacheKey
from mount.cache.held_file import HeldFile
from mount.cache.layout import (
    Geometry,
    Layout,
    charge,
    charge_of,
    has_head,
    is_at,
    make_parent,
    unlink_if_there,
)
from mount.cache.room import Limits, Room
from mount.cache.stamp import SECOND_NS, is_marked, mark_of
from mount.cache.trouble import Trouble

# A file that the last boot left is read through before it is served, 1 GiB/s at best; a larger one
# goes back to being partial, where each block is checked when it is first read.
LARGEST_CHECK_BYTES = 64 * 1024 * 1024


class Shelf(Value):
    """What the cache and the files on their way share. Every method may be called by any thread."""

    layout: Layout
    limits: Limits
    room: Room
    trouble: Trouble
    clock_ns: Callable[[], int]
    stamp_ns: int
    # Whether a file can be written before it has a name.
    has_nameless: bool
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def open_complete(self, key: CacheKey, name: str) -> int | None:
        """A descriptor that holds the complete and sound file, or None."""
        path = self.layout.data(name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if lease.share(fd) and self._is_sound(fd, key, name):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def seal(self, fd: int, mark: int, used_ns: int | None = None) -> None:
        """Mark a file as sound, and as used now or when it was."""
        os.utime(fd, ns=(self.clock_ns() if used_ns is None else used_ns, self.stamp_ns + mark))

    def is_use_old(self, stat: os.stat_result) -> bool:
        """Whether the last use was written down long enough ago."""
        age_ns = self.clock_ns() - stat.st_atime_ns
        # A time that is still to come was noted before the clock went back.
        return not 0 <= age_ns <= self.limits.touch_seconds * 1e9

    def note_use(self, fd: int, stat: os.stat_result) -> None:
        """Write down that a file is used now, unless that was done a moment ago."""
        if not self.is_use_old(stat):
            return
        try:
            # The access time is ours to set, whether or not the file system keeps it by itself.
            os.utime(fd, ns=(self.clock_ns(), stat.st_mtime_ns))
        except OSError as error:
            # A folder that can only be read: the file is as good as before.
            self.trouble.note("note recency", error)

    def drop_complete(self, fd: int, name: str) -> None:
        """Take this file out of the cache, whoever reads it; nothing if another has its name."""
        place = self.layout.place(name)
        if is_at(os.fstat(fd), place.data):
            self._remove(place.data, place.head, is_partial=False)

    def forget(self, name: str) -> None:
        """Take whatever has this name out of the cache."""
        place = self.layout.place(name)
        self._remove(place.data, place.head, is_partial=False)
        self._remove(place.partial, place.map, is_partial=True)

    def drop_superfluous(self, name: str) -> None:
        """Drop a partial file if a complete one has been put beside it."""
        place = self.layout.place(name)
        if os.path.exists(place.data):  # noqa: PTH110  # text paths here
            self._remove(place.partial, place.map, is_partial=True)

    @contextmanager
    def incoming(self, key: CacheKey) -> Iterator[tuple[int, str]]:
        """A new locked file and its name; what still has the name after a failure is removed."""
        # The pid alone would not do: the same number may run in another container.
        unique = f"{os.getpid():x}-{next(self._numbers):x}-{os.urandom(4).hex()}"
        path = f"{self.layout.incoming}/{charge(key.size):x}-{unique}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # While it is locked, a census does not take it for a leftover.
            lease.share(fd)
            yield fd, path
        except BaseException:
            unlink_if_there(path)
            raise
        finally:
            os.close(fd)

    def nameless(self, name: str) -> HeldFile:
        """A new file that has not got its name yet; without one it goes when closed."""
        fd = os.open(self.layout.incoming, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        held = HeldFile(fd, self.layout.data(name))
        try:
            lease.share(held.fd)
        except BaseException:
            held.close()
            raise
        return held

    @contextmanager
    def beginning(self) -> Iterator[bool]:
        """The right to make or unmake partial files, one process at a time; False: not now."""
        fd = os.open(self.layout.beginning, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield lease.own(fd, self.limits.evictor_wait_seconds)
        finally:
            os.close(fd)

    def _remove(self, path: str, beside: str, *, is_partial: bool) -> None:
        try:
            stat = os.stat(path)  # noqa: PTH116  # text paths here
            os.unlink(path)  # noqa: PTH108  # text paths here
        except FileNotFoundError:
            return
        unlink_if_there(beside)
        self.room.give(charge_of(stat, is_partial=is_partial))

    def _is_sound(self, fd: int, key: CacheKey, name: str) -> bool:
        stat = os.fstat(fd)
        # Evicted between open and lock. Counting its names would not do: an adopted file has that
        # of its giver, too, for a moment.
        if not is_at(stat, self.layout.data(name)):
            return False
        if stat.st_size != key.size:
            self.drop_complete(fd, name)
            return False
        if not 0 <= stat.st_mtime_ns - self.stamp_ns < SECOND_NS:
            return self._is_sound_after_all(fd, stat, key, name)
        self.note_use(fd, stat)
        return True

    def _is_sound_after_all(self, fd: int, stat: os.stat_result, key: CacheKey, name: str) -> bool:
        if key.size > LARGEST_CHECK_BYTES:
            self._reopen_as_partial(fd, key, name)
            return False
        mark = intact_mark(fd, stat, key, self.layout.place(name).head)
        if mark is None:
            self.drop_complete(fd, name)
            return False
        self._note_soundness(fd, mark)
        return True

    def _note_soundness(self, fd: int, mark: int) -> None:
        try:
            self.seal(fd, mark)
        except OSError as error:
            # A folder that can only be read: the file is checked again next time.
            self.trouble.note("note soundness", error)

    def _reopen_as_partial(self, fd: int, key: CacheKey, name: str) -> None:
        place = self.layout.place(name)
        with self.beginning() as alone:
            if not alone or not is_at(os.fstat(fd), place.data):
                return
            head = open_map(place.head, key, os.O_RDONLY)
            if head is None or os.path.lexists(place.partial):
                self.drop_complete(fd, name)
                return
            os.close(head.fd)
            make_parent(place.partial)
            # The map arrives before its data, which alone would be begun anew.
            os.replace(place.head, place.map)  # noqa: PTH105  # text paths here
            os.rename(place.data, place.partial)  # noqa: PTH104  # text paths here


def intact_mark(fd: int, stat: os.stat_result, key: CacheKey | None, head_path: str) -> int | None:
    """The mark to seal a complete file with; None when its bytes are not what they were.

    Without a key, which only a head can name, a file needs none.
    """
    mark = 0
    if not has_head(stat.st_size):
        data = os.pread(fd, stat.st_size + 1, 0)
        mark = mark_of(block_checksums(memoryview(data), Geometry.of(len(data))))
        if len(data) == stat.st_size and is_marked(stat.st_mtime_ns, mark):
            return mark
    return mark if key and _is_intact(fd, key, head_path) else None


def _is_intact(fd: int, key: CacheKey, head_path: str) -> bool:
    """Whether every block of a complete file has the checksum that its head names."""
    head = open_map(head_path, key, os.O_RDONLY)
    if head is None:
        return False
    try:
        step = head.geometry.block_bytes
        for number in range(head.geometry.blocks):
            block = os.pread(fd, step, number * step)
            if len(block) != head.geometry.length(number):
                return False
            if block_checksums(memoryview(block), head.geometry) != head.checksums(number, 1):
                return False
    finally:
        os.close(head.fd)
    return True
