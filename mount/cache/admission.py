"""How whole files enter: from memory, or from a finished file beside the cache."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence

from mount.cache import lease
from mount.cache.block_map import block_checksums, map_bytes
from mount.cache.contract import CacheKey, NoRoom
from mount.cache.held_file import HeldFile
from mount.cache.layout import (
    Geometry,
    charge,
    has_head,
    make_parent,
    move,
    name_open_file,
    unlink_if_there,
)
from mount.cache.shelf import Shelf
from mount.cache.stamp import mark_of

# linux/fs.h: _IOW(0x94, 9, int)
_FICLONE = 0x40049409


def admit_bytes(shelf: Shelf, key: CacheKey, name: str, data: memoryview) -> HeldFile:
    """A file made of these bytes, complete and held; `NoRoom` or OSError otherwise."""
    if len(data) != key.size:
        raise NoRoom(f'"{key.key}" has {key.size} bytes, not {len(data)}; read it again')
    checksums = block_checksums(data, Geometry.of(key.size))
    if not has_head(key.size) and shelf.has_nameless and shelf.room.spend(charge(key.size)):
        return _admit_nameless(shelf, key, name, data, mark_of(checksums))

    def bring(target: int, _path: str) -> Sequence[int]:
        _write_all(target, data)
        return checksums

    return _admit(shelf, key, name, bring)


def admit_file(shelf: Shelf, key: CacheKey, name: str, path: str, *, given: bool) -> HeldFile:
    """A file like the one under this path, complete and held; the same one if it is given away."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(source)
        if before.st_size != key.size:
            raise NoRoom(f'"{path}" is not the {key.size} bytes of "{key.key}"; fetch it again')

        def bring(target: int, incoming: str) -> Sequence[int]:
            if (given and _linked(source, path, incoming)) or _cloned(source, target):
                checksums = _checksums(source, key)
            else:
                checksums = _checksums(source, key, copy_to=target)
            if (
                now := os.fstat(source)
            ).st_mtime_ns != before.st_mtime_ns or now.st_size != key.size:
                raise NoRoom(f'"{path}" changed while it was read; adopt it when it is finished')
            return checksums

        return _admit(shelf, key, name, bring)
    finally:
        os.close(source)


def _admit_nameless(
    shelf: Shelf, key: CacheKey, name: str, data: memoryview, mark: int
) -> HeldFile:
    """A file of one block for which room was spent."""
    # Five system calls: open, lock, write, times, link. At each of them eight threads hand the
    # interpreter to each other, which costs more than the call. A killed process leaves nothing:
    # a file without a name goes with it, and the name comes when all the rest is there.
    held = None
    try:
        held = shelf.nameless(name)
        _write_all(held.fd, data)
        shelf.seal(held.fd, mark)
        name_open_file(held.fd, held.path)
    except BaseException:
        if held:
            held.close()
        shelf.room.settle(charge(key.size), is_here=False)
        raise
    shelf.room.settle(charge(key.size), is_here=True)
    return held


def _admit(
    shelf: Shelf, key: CacheKey, name: str, bring: Callable[[int, str], Sequence[int]]
) -> HeldFile:
    with shelf.incoming(key) as (target, incoming):
        # After the file has a name that tells its charge: see `Room.recount`.
        if not shelf.room.take(charge(key.size), incoming):
            raise NoRoom(f'no room in the cache for "{key.key}"; read without the cache')
        try:
            checksums = bring(target, incoming)
            return _publish(shelf, key, name, incoming, checksums)
        except BaseException:
            shelf.room.give(charge(key.size))
            raise


def _publish(
    shelf: Shelf, key: CacheKey, name: str, incoming: str, checksums: Sequence[int]
) -> HeldFile:
    place = shelf.layout.place(name)
    fd = os.open(incoming, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_size != key.size or not lease.share(fd):
            raise OSError(errno.EIO, "a file did not come in as it was written")  # noqa: TRY301 - one clean-up for all causes
        shelf.seal(fd, mark_of(checksums))
        if has_head(key.size):
            _place_head(f"{incoming}-head", place.head, map_bytes(key, checksums))
        else:
            make_parent(place.data)
        # Not a rename, which would replace a file that others hold: the first one stays.
        os.link(incoming, place.data)
        os.unlink(incoming)  # noqa: PTH108  # text paths here
    except BaseException:
        os.close(fd)
        raise
    return HeldFile(fd, place.data)


def _place_head(aside: str, path: str, content: bytes) -> None:
    """Put the head beside where the data will be."""
    # Made in the folder of what comes in and moved: ext4 measured 40 us, against 210 us for a new
    # file in one of 256 folders, each of which has its inodes elsewhere on the disk.
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, memoryview(content))
        move(aside, path)
    except BaseException:
        unlink_if_there(aside)
        raise
    finally:
        os.close(fd)


def _linked(source: int, path: str, incoming: str) -> bool:
    """Whether the source itself now lies there: only when nobody can still be writing to it."""
    if not _has_no_writer(source):
        return False
    aside = f"{incoming}-linked"
    try:
        os.link(path, aside)
    except OSError:
        # Another file system, a file of somebody else, a file system without links: copy.
        return False
    # The census looks for a lock on what comes in, and this is another file now.
    lease.share(source)
    os.rename(aside, incoming)  # noqa: PTH104  # text paths here
    return True


def _has_no_writer(fd: int) -> bool:
    """Whether nobody has the file open for writing: the kernel grants a read lease only then."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


def _cloned(source: int, target: int) -> bool:
    """Whether the file system shared the bytes: btrfs and XFS do, ext4 and tmpfs cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _checksums(source: int, key: CacheKey, copy_to: int | None = None) -> Sequence[int]:
    geometry = Geometry.of(key.size)
    checksums: list[int] = []
    while len(checksums) < geometry.blocks:
        at = len(checksums) * geometry.block_bytes
        block = os.pread(source, geometry.block_bytes, at)
        if len(block) != geometry.length(len(checksums)):
            raise OSError(errno.EIO, "the file became shorter while it was read")
        checksums += block_checksums(memoryview(block), geometry)
        if copy_to is not None:
            _write_all(copy_to, memoryview(block))
    return checksums


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
