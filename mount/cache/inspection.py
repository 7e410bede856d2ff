"""Reading everything again: what is damaged goes, and is named."""

from __future__ import annotations

import os
from collections.abc import Iterator

from datastores.value import Value
from mount.cache import lease
from mount.cache.beginning import join_partial
from mount.cache.block_map import read_key
from mount.cache.census import data_files
from mount.cache.contract import CacheKey
from mount.cache.eviction import Entry
from mount.cache.layout import charge_of, name_of
from mount.cache.shelf import Shelf, intact_mark


class Findings(Value):
    """What a verification read, and the files in which it found damage.

    `damaged` names complete files that were dropped and partial ones that lost blocks, by their key
    or, where that is not written down or cannot be read any more, by their name in the folder.
    """

    files: int
    partial_files: int
    bytes: int
    damaged: tuple[str, ...]


def inspect(shelf: Shelf) -> Findings:
    """Check every block of every file against its checksum."""
    damaged: list[str] = []
    counts = [0, 0]
    read_bytes = 0
    for is_partial in (False, True):
        check = _check_partial if is_partial else _check_complete
        for name, stat in _files(shelf, is_partial):
            counts[is_partial] += 1
            try:
                found, key, amount = check(shelf, name, stat)
            except OSError as error:
                # Neither sound nor damaged: gone meanwhile, or a disk that cannot be read now.
                shelf.trouble.note("verify", error)
                continue
            read_bytes += amount
            if found:
                damaged.append(key.key if key else name)
    return Findings(counts[0], counts[1], read_bytes, tuple(sorted(damaged)))


def _files(shelf: Shelf, is_partial: bool) -> Iterator[tuple[str, os.stat_result]]:
    try:
        yield from data_files(shelf.layout, is_partial=is_partial)
    except OSError as error:
        shelf.trouble.note("verify", error)


def _check_complete(
    shelf: Shelf, name: str, stat: os.stat_result
) -> tuple[bool, CacheKey | None, int]:
    place = shelf.layout.place(name)
    fd = os.open(place.data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not lease.share(fd):
            return False, None, 0
        key = _key_of(name, place.head)
        mark = None
        if key is None or stat.st_size == key.size:
            mark = intact_mark(fd, stat, key, place.head)
        if mark is not None:
            _reseal(shelf, fd, mark, stat)
            return False, key, stat.st_size
        shelf.drop_complete(fd, name)
        return True, key, stat.st_size
    finally:
        os.close(fd)


def _check_partial(
    shelf: Shelf, name: str, stat: os.stat_result
) -> tuple[bool, CacheKey | None, int]:
    key = _key_of(name, shelf.layout.place(name).map)
    filling = join_partial(shelf, key, name) if key else None
    if filling is None:
        charge = charge_of(stat, is_partial=True)
        return shelf.room.drop(Entry(name, charge, 0, is_partial=True)) > 0, key, 0
    try:
        damaged_blocks, read_bytes = filling.audit()
        return damaged_blocks > 0, key, read_bytes
    finally:
        filling.close()


def _key_of(name: str, path: str) -> CacheKey | None:
    try:
        key = read_key(path)
    except FileNotFoundError:
        return None
    return key if key and name_of(key) == name else None


def _reseal(shelf: Shelf, fd: int, mark: int, stat: os.stat_result) -> None:
    try:
        # Reading is not using: the recency stays what it was.
        shelf.seal(fd, mark, stat.st_atime_ns)
    except OSError as error:
        shelf.trouble.note("note recency", error)
