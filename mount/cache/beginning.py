"""How a file on its way is opened, or begun when nobody began it."""

from __future__ import annotations

import errno
import os

from mount.cache import lease
from mount.cache.block_map import BlockMap, map_bytes, open_map
from mount.cache.contract import CacheKey, NoRoom
from mount.cache.layout import Geometry, is_at, make_parent, overhead, unlink_if_there
from mount.cache.partial_file import FillingFile
from mount.cache.shelf import Shelf

# Between two looks the file can be finished, dropped or evicted by somebody else; more often than
# this in a row it is not our turn.
_ATTEMPTS = 5


def open_partial(shelf: Shelf, key: CacheKey, name: str) -> FillingFile | None:
    """The file on its way; None when it became complete meanwhile. `NoRoom` when it cannot be."""
    for _ in range(_ATTEMPTS):
        if filling := join_partial(shelf, key, name):
            return filling
        with shelf.beginning() as alone:
            if not alone:
                break
            if os.path.exists(shelf.layout.data(name)):  # noqa: PTH110  # text paths here
                return None
            # Somebody may have begun it while this process waited.
            if filling := join_partial(shelf, key, name):
                return filling
            _begin(shelf, key, name)
    raise NoRoom(f'"{key.key}" is being changed by another process; read without the cache')


def join_partial(shelf: Shelf, key: CacheKey, name: str) -> FillingFile | None:
    """The partial file that is there, held; None when there is none that can be believed."""
    place = shelf.layout.place(name)
    try:
        data = os.open(place.partial, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    blocks: BlockMap | None = None
    try:
        if lease.share(data):
            stat = os.fstat(data)
            if stat.st_nlink and stat.st_size == key.size:
                blocks = open_map(place.map, key)
            if blocks is not None:
                _note_use(shelf, place.partial, data, blocks)
                return FillingFile(shelf, key, name, data, blocks)
    finally:
        if blocks is None:
            os.close(data)
    return None


def _note_use(shelf: Shelf, path: str, data: int, blocks: BlockMap) -> None:
    """Write down that a partial file is used now."""
    # Whoever completes it owns its map meanwhile. Without that lock the time of before could be
    # written over the stamp of the complete file, which would then be taken for damaged.
    if not shelf.is_use_old(os.fstat(data)) or not lease.share(blocks.fd):
        return
    try:
        stat = os.fstat(data)
        if stat.st_nlink == 1 and is_at(stat, path):
            shelf.note_use(data, stat)
    finally:
        lease.let_go(blocks.fd)


def _begin(shelf: Shelf, key: CacheKey, name: str) -> None:
    """Put an empty file and its map in place of whatever is there; the caller may do so alone."""
    if not shelf.room.take(overhead(key.size)):
        raise NoRoom(f'no room in the cache to begin "{key.key}"; read without the cache')
    place = shelf.layout.place(name)
    make_parent(place.partial)
    # What is there was not to be believed; data goes first, because data with the map of another
    # file would be checked block by block, and a map alone is no file.
    unlink_if_there(place.partial)
    unlink_if_there(place.map)
    try:
        _create(place.map, map_bytes(key))
        _create(place.partial, b"", Geometry.of(key.size).size)
    except OSError:
        unlink_if_there(place.map)
        unlink_if_there(place.partial)
        shelf.room.give(overhead(key.size))
        raise


def _create(path: str, content: bytes, size: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, content) != len(content):
            raise OSError(errno.EIO, "a new file was written in part")
        if size is not None:
            # The data gets its length at once: a file of another length is not to be believed.
            os.ftruncate(fd, size)
    finally:
        os.close(fd)
