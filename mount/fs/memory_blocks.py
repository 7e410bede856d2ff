"""A file on its way where the cache has no room: a few blocks in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK_BYTES = 256 * 1024


class MemoryBlocks:
    """A partial file that forgets its oldest blocks and is never finished."""

    block_bytes = BLOCK_BYTES

    def __init__(self, size: int, most_bytes: int, count: Callable[[int], None]) -> None:
        self._size = size
        self._most = max(1, most_bytes // BLOCK_BYTES)
        self._count = count
        self._lock = threading.Lock()
        # Under the lock.
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def missing(self, start: int, length: int) -> Sequence[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        with self._lock:
            for at in range(start - start % BLOCK_BYTES, start + length, BLOCK_BYTES):
                if at in self._blocks:
                    continue
                size = min(BLOCK_BYTES, self._size - at)
                if found and sum(found[-1]) == at:
                    found[-1] = (found[-1][0], found[-1][1] + size)
                else:
                    found.append((at, size))
        return found

    def write(self, start: int, *pieces: Buffer) -> None:
        view = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        with self._lock:
            for at in range(0, len(view), BLOCK_BYTES):
                piece = bytes(view[at : at + BLOCK_BYTES])
                if len(piece) == min(BLOCK_BYTES, self._size - start - at):
                    self._count(len(piece) - len(self._blocks.pop(start + at, b"")))
                    self._blocks[start + at] = piece
            while len(self._blocks) > self._most:
                self._count(-len(self._blocks.popitem(last=False)[1]))

    def read(self, start: int, length: int) -> Buffer | None:
        pieces: list[memoryview] = []
        with self._lock:
            for at in range(start - start % BLOCK_BYTES, start + length, BLOCK_BYTES):
                block = self._blocks.get(at)
                if block is None:
                    return None
                self._blocks.move_to_end(at)
                pieces.append(memoryview(block)[max(0, start - at) : start + length - at])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def note_written(self, start: int, length: int) -> None:
        """No other process writes here."""

    def finish(self) -> None:
        """It has no file."""

    def close(self) -> None:
        with self._lock:
            self._count(-sum(map(len, self._blocks.values())))
            self._blocks.clear()
