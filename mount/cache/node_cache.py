"""The node's cache in one folder; any number of processes may open the same one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mount.cache import lease
from mount.cache.admission import admit_bytes, admit_file
from mount.cache.beginning import open_partial
from mount.cache.census import take_census
from mount.cache.contract import CachedFile, CacheKey, CacheStatus, NoRoom, PartialFile
from mount.cache.eviction import Entry
from mount.cache.finished_file import FinishedFile
from mount.cache.held_file import HeldFile
from mount.cache.inspection import Findings, inspect
from mount.cache.layout import Geometry, Layout, name_of
from mount.cache.ledger import Numbers
from mount.cache.room import Limits, Room
from mount.cache.shelf import Shelf
from mount.cache.stamp import boot_stamp_ns, this_boot
from mount.cache.trouble import Trouble
from mount.errors import CacheBroken

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A later form of the folder lies beside this one and does not have to read it.
_FORM = "v1"
# Hits and misses reach the ledger together: one by one they would cost a third of a `find`.
_COUNTS_AT_ONCE = 256


class NodeCache:
    """Complete and partial files by version, made by `open`.

    Files that were handed out stay readable after `close`.
    """

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        self._folder = folder
        self._shelf = shelf
        # Not yet in the ledger. No lock: a count that two threads change at once may be lost.
        self._hits = 0
        self._misses = 0

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        quota_bytes: int,
        reserve_bytes: int,
        clock: Callable[[], int] = time.time_ns,
        limits: Limits | None = None,
        boot: str | None = None,
    ) -> Self:
        """The cache in this folder, which is made if it is not there.

        A folder that can only be read serves what it has. `CacheBroken` when it cannot even be
        read, or cannot be made. `clock` counts nanoseconds.
        """
        layout = Layout(folder / _FORM)
        trouble = Trouble(str(folder))
        limits = replace(
            limits or Limits(0, 0), quota_bytes=quota_bytes, reserve_bytes=reserve_bytes
        )
        room = Room(layout, limits, trouble, clock)
        try:
            _make_folders(layout, trouble)
            stamp_ns = boot_stamp_ns(this_boot() if boot is None else boot)
        except OSError as error:
            raise CacheBroken(
                str(folder), f"{error.strerror or error}; name a folder on a local disk"
            ) from error
        has_nameless = _can_be_nameless(layout.incoming)
        return cls(folder, Shelf(layout, limits, room, trouble, clock, stamp_ns, has_nameless))

    @property
    def folder(self) -> str:
        return str(self._folder)

    @property
    def quota_bytes(self) -> int:
        """How much it may take; a mount keeps a part of that open."""
        return self._shelf.limits.quota_bytes

    def again(self) -> Self:
        shelf = self._shelf
        trouble = Trouble(str(self._folder))
        room = Room(shelf.layout, shelf.limits, trouble, shelf.clock_ns)
        return type(self)(self._folder, replace(shelf, room=room, trouble=trouble))

    def find(self, key: CacheKey) -> CachedFile | None:
        held = self._open_complete(key, name_of(key))
        if held is None:
            self._misses += 1
        else:
            self._hits += 1
        if self._hits + self._misses >= _COUNTS_AT_ONCE:
            self._save_counts()
        return held

    def arrived(self, key: CacheKey) -> CachedFile | None:
        return self._open_complete(key, name_of(key))

    def fill(self, key: CacheKey) -> PartialFile:
        name = name_of(key)
        try:
            for _ in range(2):
                if held := self._open_complete(key, name):
                    return FinishedFile(self._shelf, key, held, Geometry.of(key.size).block_bytes)
                if filling := open_partial(self._shelf, key, name):
                    return filling
        except OSError as error:
            raise self._no_room("begin a file", key, error) from error
        raise NoRoom(f'"{key.key}" comes and goes in the cache; read without it')

    def put(self, key: CacheKey, data: Buffer) -> CachedFile:
        name = name_of(key)
        try:
            # Whoever puts has looked for it, so nothing is gained by looking once more first.
            return admit_bytes(self._shelf, key, name, memoryview(data).cast("B"))
        except NoRoom:
            if held := self._open_complete(key, name):
                return held
            raise
        except OSError as error:
            return self._somebody_elses("put a file", key, name, error)

    def adopt(self, key: CacheKey, path: str, *, given: bool = False) -> CachedFile:
        """A finished local file as the cached one.

        A file that is given away, which means that nobody writes to it any more, becomes the cached
        file by a second name; any other is cloned or copied, because a change made through the
        first name would change what is cached.
        """
        name = name_of(key)
        if held := self._open_complete(key, name):
            return held
        try:
            return admit_file(self._shelf, key, name, path, given=given)
        except OSError as error:
            return self._somebody_elses("adopt a file", key, name, error)

    def forget(self, key: CacheKey) -> None:
        try:
            self._shelf.forget(name_of(key))
        except OSError as error:
            self._shelf.trouble.note("forget a file", error)

    def status(self) -> CacheStatus:
        """What is there now; counts every file and asks each whether it is held."""
        self._save_counts()
        entries, numbers = self._counted()
        partial = [entry for entry in entries if entry.is_partial]
        return CacheStatus(
            folder=str(self._folder),
            quota_bytes=self._shelf.limits.quota_bytes,
            reserve_bytes=self._shelf.limits.reserve_bytes,
            files=len(entries) - len(partial),
            bytes=sum(entry.charge for entry in entries if not entry.is_partial),
            partial_files=len(partial),
            partial_bytes=sum(entry.charge for entry in partial),
            in_use_files=sum(self._is_in_use(entry) for entry in entries),
            hits=numbers.hits,
            misses=numbers.misses,
            evictions=numbers.evictions,
        )

    def clear(self) -> int:
        """Drop every file that nobody holds; how many bytes that freed."""
        entries, _ = self._counted()
        freed = 0
        for entry in entries:
            try:
                freed += self._shelf.room.drop(entry)
            except OSError as error:
                self._shelf.trouble.note("clear", error)
        return freed

    def verify(self) -> Findings:
        """Read everything again, drop what is damaged, and say what that was."""
        return inspect(self._shelf)

    @property
    def troubles(self) -> dict[str, int]:
        """Failures of the disk since this cache was opened, by deed and reason."""
        return self._shelf.trouble.counts

    def close(self) -> None:
        self._save_counts()
        self._shelf.room.close()

    def _open_complete(self, key: CacheKey, name: str) -> HeldFile | None:
        try:
            fd = self._shelf.open_complete(key, name)
        except OSError as error:
            self._shelf.trouble.note("find a file", error)
            return None
        return None if fd is None else HeldFile(fd, self._shelf.layout.data(name))

    def _counted(self) -> tuple[list[Entry], Numbers]:
        try:
            return self._shelf.room.recount()
        except OSError as error:
            self._shelf.trouble.note("keep the ledger", error)
        try:
            entries, used = take_census(self._shelf.layout, self._shelf.clock_ns())
        except OSError as error:
            self._shelf.trouble.note("count files", error)
            return [], Numbers()
        return entries, Numbers(used, 0, self._hits, self._misses, 0)

    def _is_in_use(self, entry: Entry) -> bool:
        top = self._shelf.layout.partial if entry.is_partial else self._shelf.layout.files
        try:
            fd = os.open(f"{top}/{entry.name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not lease.own(fd)
        finally:
            os.close(fd)

    def _save_counts(self) -> None:
        hits, misses, self._hits, self._misses = self._hits, self._misses, 0, 0
        if (hits or misses) and not self._shelf.room.count(hits, misses):
            self._hits += hits
            self._misses += misses

    def _somebody_elses(self, deed: str, key: CacheKey, name: str, error: OSError) -> CachedFile:
        """The file another process brought in at the same time; `NoRoom` when that is not why."""
        if not isinstance(error, FileExistsError):
            raise self._no_room(deed, key, error) from error
        if held := self._open_complete(key, name):
            return held
        raise NoRoom(f'"{key.key}" comes and goes in the cache; read without it') from error

    def _no_room(self, deed: str, key: CacheKey, error: OSError) -> NoRoom:
        self._shelf.trouble.note(deed, error)
        return NoRoom(
            f'the cache\'s disk refuses "{key.key}" ({error.strerror or error}); '
            "read without the cache"
        )


def _make_folders(layout: Layout, trouble: Trouble) -> None:
    """Make what is missing; raises only when there is nothing that could be read."""
    try:
        for folder in (layout.files, layout.partial, layout.incoming):
            os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103  # text paths here
    except OSError as error:
        if not os.path.isdir(layout.folder) or not os.access(layout.folder, os.R_OK | os.X_OK):  # noqa: PTH112  # text paths here
            raise
        trouble.note("make folders", error)


def _can_be_nameless(folder: str) -> bool:
    """Whether the file system makes files without a name: ext4, XFS, btrfs, tmpfs and most do."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError:
        return False
    return True
