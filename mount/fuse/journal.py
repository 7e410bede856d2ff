"""What a worker notes for the one that comes after it, should it be killed.

The notes lie in memory that the supervisor keeps: one slot for the agreement with the kernel, one
per open handle, one per inode that moved, one per file registered with the kernel. A slot is either
there or not: its first byte says so, and is written after the rest. Noting takes 3 us for an open
and its close; with a system call each it was 6. Unsupervised mounts note nothing.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple, Protocol

from datastores.value import Value
from mount.fs.contract import Access
from mount.fuse.layouts import Init
from mount.fuse.negotiation import Agreement

SLOT = Struct("=BBBxiQQQQQ16x")
FREE, AGREED, OPENED, MOVED, REGISTERED = range(5)
# Only in the index: folders are noted as OPENED, too.
FOLDER = -1
NO_BACKING = -1
# So many slots more when there are too few; the file is sparse.
GROWTH_SLOTS = 16_384


class OpenHandle(NamedTuple):
    """A handle that the kernel holds, as it was given out."""

    handle: int
    node: int
    access: Access
    is_folder: bool
    unique: int  # of the request that it answered
    file: tuple[int, int] | None = None
    backing_id: int | None = None


class Notes(Value):
    """Everything a worker left behind."""

    agreement: Agreement | None
    handles: Sequence[OpenHandle]
    generations: dict[int, int]
    registered: Sequence[int] = ()


class Journal(Protocol):
    """Where a worker notes what it did."""

    def opened(self, handle: OpenHandle) -> None:
        """A handle is about to be given to the kernel."""

    def closed(self, handle: int, *, is_folder: bool) -> None:
        """The kernel gave a handle back."""

    def moved(self, inode: int, generation: int) -> None:
        """An inode has a new node."""

    def registered(self, backing_id: int) -> None:
        """The kernel knows a file by this number."""

    def unregistered(self, backing_id: int) -> None:
        """The kernel forgot it."""


class MemoryJournal:
    """Notes in a memory file that outlives the worker."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._lock = threading.Lock()
        # All under the lock; slot 0 belongs to the agreement.
        self._slots: dict[tuple[int, int], int] = {}
        self._free: list[int] = []
        self._end = 1
        self._memory = self._mapped()

    def agreed(self, agreement: Agreement) -> None:
        """Kernel and adapter agreed: it happens once in the life of a mount."""
        with self._lock:
            text = SLOT.pack(
                AGREED,
                0,
                0,
                agreement.minor,
                agreement.flags,
                agreement.readahead_bytes,
                agreement.request_bytes,
                0,
                0,
            )
            self._write(0, text)

    def opened(self, handle: OpenHandle) -> None:
        device, inode = handle.file or (0, 0)
        backing_id = NO_BACKING if handle.backing_id is None else handle.backing_id
        self._put(
            _key(handle.handle, is_folder=handle.is_folder),
            SLOT.pack(
                OPENED,
                handle.access.value,
                handle.is_folder,
                backing_id,
                handle.handle,
                handle.node,
                handle.unique,
                device,
                inode,
            ),
        )

    def closed(self, handle: int, *, is_folder: bool) -> None:
        self._drop(_key(handle, is_folder=is_folder))

    def moved(self, inode: int, generation: int) -> None:
        self._put((MOVED, inode), SLOT.pack(MOVED, 0, 0, 0, inode, generation, 0, 0, 0))

    def registered(self, backing_id: int) -> None:
        self._put((REGISTERED, backing_id), SLOT.pack(REGISTERED, 0, 0, backing_id, 0, 0, 0, 0, 0))

    def unregistered(self, backing_id: int) -> None:
        self._drop((REGISTERED, backing_id))

    def load(self) -> Notes:
        """What the worker before left; it is kept."""
        agreement: Agreement | None = None
        handles: list[OpenHandle] = []
        generations: dict[int, int] = {}
        registered: list[int] = []
        with self._lock:
            text = self._memory[: len(self._memory)]
            # What was never used is not listed as free: it is most of it.
            self._end = max(1, -(-len(text.rstrip(b"\0")) // SLOT.size))
            for slot in range(self._end):
                kind, access, is_folder, number, *values = SLOT.unpack_from(text, slot * SLOT.size)
                if kind == AGREED:
                    flags, readahead, request_bytes, _, _ = values
                    agreement = Agreement(number, Init(flags), readahead, request_bytes)
                elif kind == OPENED:
                    handle = _handle(Access(access), is_folder, number, values)
                    handles.append(handle)
                    self._slots[_key(handle.handle, is_folder=handle.is_folder)] = slot
                elif kind == MOVED:
                    generations[values[0]] = values[1]
                    self._slots[MOVED, values[0]] = slot
                elif kind == REGISTERED:
                    registered.append(number)
                    self._slots[REGISTERED, number] = slot
                elif slot:
                    self._free.append(slot)
        return Notes(agreement, handles, generations, registered)

    def _put(self, key: tuple[int, int], slot: bytes) -> None:
        with self._lock:
            place = self._slots.get(key)
            if place is None:
                place = self._free.pop() if self._free else self._end
                self._end = max(self._end, place + 1)
                self._slots[key] = place
            self._write(place, slot)

    def _drop(self, key: tuple[int, int]) -> None:
        with self._lock:
            slot = self._slots.pop(key, None)
            if slot is not None:
                self._memory[slot * SLOT.size] = FREE
                self._free.append(slot)

    def _write(self, slot: int, text: bytes) -> None:
        at = slot * SLOT.size
        if at + SLOT.size > len(self._memory):
            self._memory = self._mapped(slot + 1)
        # Whoever is killed between the two has noted nothing, or the same thing as before.
        self._memory[at + 1 : at + SLOT.size] = text[1:]
        self._memory[at] = text[0]

    def _mapped(self, slots: int = 1) -> mmap.mmap:
        """The notes as memory, with room for so many slots and some more."""
        size = -(-slots // GROWTH_SLOTS) * GROWTH_SLOTS * SLOT.size
        if os.fstat(self.fd).st_size < size:
            os.ftruncate(self.fd, size)
        return mmap.mmap(self.fd, os.fstat(self.fd).st_size)


def _key(handle: int, *, is_folder: bool) -> tuple[int, int]:
    # Files and folders may be numbered apart.
    return FOLDER if is_folder else OPENED, handle


def _handle(access: Access, is_folder: int, backing_id: int, values: list[int]) -> OpenHandle:
    handle, node, unique, device, inode = values
    return OpenHandle(
        handle,
        node,
        access,
        bool(is_folder),
        unique,
        (device, inode) if inode else None,
        None if backing_id == NO_BACKING else backing_id,
    )
