"""A complete file for somebody who came to fill it: nothing is missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mount.cache.contract import CachedFile, CacheKey
from mount.cache.held_file import HeldFile
from mount.cache.shelf import Shelf

if TYPE_CHECKING:
    from typing_extensions import Buffer


class FinishedFile:
    """A complete file for somebody who came to fill it."""

    def __init__(self, shelf: Shelf, key: CacheKey, held: HeldFile, block_bytes: int) -> None:
        self._shelf = shelf
        self._key = key
        self._held = held
        self.block_bytes = block_bytes

    def missing(self, start: int, length: int) -> Sequence[tuple[int, int]]:  # noqa: ARG002 - the protocol's signature
        return []

    def write(self, start: int, *pieces: Buffer) -> None:
        """Nothing is missing, so nothing is written."""

    def note_written(self, start: int, length: int) -> None:
        """All of it is known to be there."""

    def read(self, start: int, length: int) -> Buffer | None:
        length = min(length, self._key.size - start)
        if length <= 0:
            return b""
        try:
            data = os.pread(self._held.fd, length, start)
        except OSError as error:
            self._shelf.trouble.note("read blocks", error)
            return None
        return data if len(data) == length else None

    def finish(self) -> CachedFile | None:
        try:
            # A second descriptor of the same open file: the lock is held until both are closed.
            return HeldFile(os.dup(self._held.fd), self._held.path)
        except OSError as error:
            self._shelf.trouble.note("finish a file", error)
            return None

    def close(self) -> None:
        self._held.close()
