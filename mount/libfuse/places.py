"""Paths, as libfuse knows files by, and the inodes that the file system knows them by.

Each known path holds one lookup of its inode, as the kernel does for the direct adapter, so the
file system keeps what it knows of it. A path is known for as long as the file system allows.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mount.fs.contract import ROOT_INODE, Entry, FileSystem

MOST_PATHS = 16_384


@dataclass(slots=True)
class Place:
    """One lookup of an inode; given back when no path leads here and nobody uses it."""

    inode: int
    until: float
    users: int = 0
    is_known: bool = True


class Places:
    """Which inode is at a path; asks the file system for what is not known or too old."""

    def __init__(self, filesystem: FileSystem) -> None:
        self.filesystem = filesystem
        self._lock = threading.Lock()
        # Under the lock, the places as well; the least recently used path comes first.
        self._known: OrderedDict[bytes, Place] = OrderedDict()
        self._root = Place(ROOT_INODE, float("inf"))

    def look_up(self, path: bytes, *, wait: bool) -> Entry:
        """A path's attributes, fresh from the file system."""
        if path == b"/":
            return self.filesystem.getattr(ROOT_INODE, None, wait=wait)
        entry = self._asked(path, wait=wait)
        self.remember(path, entry)
        return entry

    @contextmanager
    def at(self, path: bytes, *, wait: bool) -> Iterator[int]:
        """The inode at a path; it stays valid within the block."""
        place = self.keep(path, wait=wait)
        try:
            yield place.inode
        finally:
            self.let_go(place)

    def keep(self, path: bytes, *, wait: bool) -> Place:
        """The place at a path, to be given back with `let_go`."""
        with self._lock:
            place = self._root if path == b"/" else self._known.get(path)
            if place is not None and time.monotonic() < place.until:
                place.users += 1
                if path != b"/":
                    self._known.move_to_end(path)
                return place
        return self.keep_new(path, self._asked(path, wait=wait))

    def share(self, place: Place) -> Place:
        """One more user of a place."""
        with self._lock:
            place.users += 1
        return place

    def let_go(self, place: Place) -> None:
        """A user is done with a place."""
        with self._lock:
            place.users -= 1
            is_over = not place.users and not place.is_known
        if is_over:
            self.filesystem.forget(place.inode, 1)

    def remember(self, path: bytes, entry: Entry) -> None:
        """The file system counted one lookup of this entry for us."""
        self.let_go(self.keep_new(path, entry))

    def keep_new(self, path: bytes, entry: Entry) -> Place:
        """As `remember`, and kept."""
        fresh = Place(entry.attributes.inode, time.monotonic() + entry.name_seconds, users=1)
        with self._lock:
            before = self._known.pop(path, None)
            self._known[path] = fresh
            old = [before] if before is not None else []
            if len(self._known) > MOST_PATHS:
                old.append(self._known.popitem(last=False)[1])
            over = self._unknown(old)
        self._forget(over)
        return fresh

    def drop(self, path: bytes) -> None:
        """Nothing is known any more of a path and of what was below it."""
        below = path + b"/"
        with self._lock:
            gone = [known for known in self._known if known == path or known.startswith(below)]
            places = [self._known.pop(known) for known in gone]
            over = self._unknown(places)
        self._forget(over)

    def close(self) -> None:
        """Give all lookups back that nobody uses."""
        with self._lock:
            places = list(self._known.values())
            self._known.clear()
            over = self._unknown(places)
        self._forget(over)

    def _asked(self, path: bytes, *, wait: bool) -> Entry:
        folder, name = split(path)
        with self.at(folder, wait=wait) as inode:
            entry = self.filesystem.lookup(inode, name, wait=wait)
        if not entry.attributes.inode:
            raise FileNotFoundError
        return entry

    def _unknown(self, places: list[Place]) -> list[int]:
        """Under the lock: no path leads there any more; the inodes that nobody uses."""
        for place in places:
            place.is_known = False
        return [place.inode for place in places if not place.users]

    def _forget(self, inodes: list[int]) -> None:
        for inode in inodes:
            self.filesystem.forget(inode, 1)


def split(path: bytes) -> tuple[bytes, bytes]:
    """The folder and the name of a path from the root."""
    folder, _, name = path.rpartition(b"/")
    return folder or b"/", name
