"""What a file is becoming: bytes written here, over the version it began as."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from datastores.transfer.disk import GENTLE_BYTES, write_at
from mount.fs.block_plan import Piece
from mount.fs.contract import WouldWait
from mount.fs.extents import Extents
from mount.fs.spool import Note, SpoolFile, read_padded

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from mount.fs.contents import Content

# Bytes of the base are fetched at least so many at a time.
FILL_BYTES = 1024 * 1024


class Draft:
    """A spool file, and which of its bytes are true.

    The lock is taken after the file system's and never held during a request; disk writes happen
    under it.
    """

    def __init__(self, file: SpoolFile, base: Content | None, *, exclusive: bool = False) -> None:
        self.lock = threading.Condition()
        self.file = file
        # Under the file system's lock: handles that may write, calls that use the spool file at
        # this moment, and whether it goes when the last of them is done.
        self.writers = 0
        self.users = 0
        self.has_ended = False
        # An upload had begun when an earlier process died.
        self.may_be_stored = False
        # Its bytes are left to `recover`.
        self.is_abandoned = False
        # The base as it was opened; let go when the draft ends.
        self.opened_base = base
        # Whether another object under the name is refused; True until the first upload.
        self.exclusive = exclusive
        # Under the lock, all of these. `base` has the bytes below `base_end` that are not in `have`.
        self.base = base
        self.base_end = base.size if base else 0
        self.size = self.base_end
        self.have = Extents()
        # Changed since the base.
        self.dirty = Extents()
        self.generation = 0
        self.sent_generation = 0
        self.modified_ns = 0
        # Blocks that were sent ahead, by start, all for one key; `punched` is no longer on the disk.
        self.sent: dict[int, Piece] = {}
        self.sending: dict[int, Piece] = {}
        self.sent_key: str | None = None
        self.punched = Extents()
        # Key and time of the note that lies beside the spool file.
        self.noted: tuple[str, int | None] | None = None

    @property
    def is_dirty(self) -> bool:
        return self.generation != self.sent_generation

    @property
    def is_whole(self) -> bool:
        """Whether the spool file is the file."""
        with self.lock:
            return not self.punched and not self._gaps(0, self.size)

    @property
    def dirty_bytes(self) -> int:
        with self.lock:
            return self.dirty.total if self.is_dirty else 0

    def touch(self) -> None:
        """There is something to store, even if it is only that the file exists."""
        with self.lock:
            self.generation += 1
            self.modified_ns = time.time_ns()

    def write(self, start: int, data: memoryview) -> int:
        """Put bytes into the spool; where nothing was before them there are zeros."""
        with self.lock:
            end = start + data.nbytes
            if self.punched.touches(start, end):
                raise WouldWait
            write_at(self.file.fd, data, start, GENTLE_BYTES)
            self._changed(start, end)
            self.size = max(self.size, end)
            return end - start

    def append(self, data: memoryview) -> int:
        with self.lock:
            return self.write(self.size, data)

    def truncate(self, size: int) -> None:
        with self.lock:
            if size == self.size:
                return
            # A block that is no longer here cannot be cut in two.
            if (
                size
                and self.punched.touches(size - 1, size)
                and self.punched.touches(size, size + 1)
            ):
                raise WouldWait
            self.punched.remove(size, self.size)
            low, high = min(size, self.size), max(size, self.size)
            os.ftruncate(self.file.fd, size)
            self.base_end = min(self.base_end, size)
            self.have.remove(size, high)
            self._changed(low, high, is_here=size > self.size)
            self.dirty.remove(size, high)
            self.size = size

    def here(self, start: int, end: int) -> bytes | None:
        """The bytes of a range, None if some are still in the base."""
        with self.lock:
            end = min(end, self.size)
            if self.punched.touches(start, end):
                return None
            if self._gaps(start, end):
                return None
        return read_padded(self.file.fd, start, end) if start < end else b""

    def fill(self, start: int, end: int, fetch: Callable[[Content, int, int], Buffer]) -> None:
        """Bring the base's bytes of a range into the spool; bytes written meanwhile win."""
        while True:
            with self.lock:
                gaps = self._gaps(start, min(end, self.size))
                base = self.base
            if not gaps or base is None:
                return
            gap_start, gap_end = gaps[0]
            stop = min(gap_end, gap_start + FILL_BYTES)
            data = memoryview(fetch(base, gap_start, stop))
            with self.lock:
                if self.base is not base:
                    continue
                for at, to in self._gaps(gap_start, min(stop, self.size)):
                    os.pwrite(self.file.fd, data[at - gap_start : to - gap_start], at)
                    self.have.add(at, to)

    def known_pieces(self) -> list[Piece]:
        with self.lock:
            return list(self.sent.values())

    def stored(self, generation: int, base: Content) -> None:
        """The bytes of this generation are in the store, as this version."""
        with self.lock:
            self.sent_generation = generation
            self.exclusive = False
            self.sent.clear()
            # What is missing here was not written since, so the new version has it, too.
            self.base, self.base_end = base, min(self.base_end, base.size)
            for start, end in self.punched:
                self.base_end = max(self.base_end, end)
                self.have.remove(start, end)
            self.punched = Extents()
            if self.generation == generation:
                self.base_end = self.size
                self.dirty = Extents()

    def note(self, store: str, key: str, modified_ns: int | None) -> Note:
        """What `recover` needs to know of it."""
        with self.lock:
            return Note(
                store=store,
                key=key,
                size=self.size,
                base_version=self.base.version if self.base else None,
                exclusive=self.exclusive,
                modified_ns=modified_ns,
                borrowed=self._gaps(0, self.size),
                staged=[
                    (piece.id, piece.start, piece.end)
                    for piece in self.sent.values()
                    if piece.id and self.punched.touches(piece.start, piece.end)
                ],
            )

    def _gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        return self.have.gaps(start, min(end, self.base_end))

    def _changed(self, start: int, end: int, *, is_here: bool = True) -> None:
        self.generation += 1
        self.modified_ns = time.time_ns()
        if is_here:
            self.have.add(start, end)
            self.dirty.add(start, end)
        for at in [at for at, piece in self.sent.items() if piece.end > start and at < end]:
            del self.sent[at]
        # A block on its way may hold older bytes by now: it will not count when it arrives.
        for at in [at for at, piece in self.sending.items() if piece.end > start and at < end]:
            del self.sending[at]
