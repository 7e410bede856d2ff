"""Which files the kernel reads by itself.

A node of the kernel is cached (pages, filled by READ) or backed (a local file that the kernel
reads without asking) from its first open handle to its last, never both: an open in the other mode
fails in the kernel with EIO. So the first open chooses, the others follow; and where one cannot
follow, because it writes or because it is another version, the inode gets a further node. The
caller answers that open with ESTALE, the kernel looks the name up again, is told the new node,
and opens that. Readers keep the old bytes, the writer gets the cache, and no program notices.

A handle that may write is never backed: the kernel would write into the cache's file.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from mount.fs.contract import Access, Opened
from mount.fuse import layouts
from mount.fuse.journal import Journal, OpenHandle
from mount.fuse.layouts import OpenFlag

log = logging.getLogger(__name__)

# A node is an inode and, above this bit, how often the inode had to move.
GENERATION_SHIFT = 56
INODE_MASK = (1 << GENERATION_SHIFT) - 1
# The kernel looks a name up again once, not twice: until whoever caused a move has surely opened
# the new node, that one is cached, which suits everybody.
RESERVED_SECONDS = 10.0
# The kernel or the host refuses for good: no privilege, no support. Others concern one file.
REFUSED_FOR_GOOD = {errno.EPERM, errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


# Plain numbers: arithmetic with enumerations was a tenth of an open.
BACKED = int(OpenFlag.PASSTHROUGH | OpenFlag.NOFLUSH)
KEEP_CACHE, DIRECT_IO, NOFLUSH = map(
    int, (OpenFlag.KEEP_CACHE, OpenFlag.DIRECT_IO, OpenFlag.NOFLUSH)
)


@dataclass(slots=True)
class Mode:
    """How an open node is read; `file` and `backing_id` are None where it is cached."""

    handles: set[int]
    file: tuple[int, int] | None = None
    backing_id: int | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What the kernel is told about an open file."""

    flags: int
    backing_id: int = 0


class Passthrough:
    """The modes of all open nodes, and the backing files registered with the kernel."""

    def __init__(self, fd: int, journal: Journal | None, *, enabled: bool) -> None:
        self.fd = fd
        self.journal = journal
        self.enabled = enabled
        self.backed_opens = 0
        self.refused_opens = 0
        self.moves = 0
        self._lock = threading.Lock()
        # All under the lock; `_generations` is also read without it.
        self._modes: dict[int, Mode] = {}
        self._generations: dict[int, int] = {}
        self._reserved: dict[int, float] = {}  # node, and until when it stays cached

    def node_for(self, inode: int) -> int:
        """The node under which the kernel is to know an inode from now on."""
        generations = self._generations
        if not generations:
            return inode
        return inode | generations.get(inode, 0) << GENERATION_SHIFT

    def nodes_of(self, inode: int) -> list[int]:
        """Every node under which the kernel may still know an inode."""
        last = self._generations.get(inode, 0)
        return [inode | generation << GENERATION_SHIFT for generation in range(last + 1)]

    def makes_way(self, node: int) -> bool:
        """Whether a writer of this node has to look it up again: readers have it backed."""
        with self._lock:
            mode = self._modes.get(node)
            if mode is None or mode.backing_id is None:
                return False
            self._move(node)
            return True

    def admit(self, node: int, opened: Opened, access: Access) -> Admission | None:
        """Count a handle in; None if the node is backed by another file: look it up again."""
        flags = _cached_flags(opened, access)
        with self._lock:
            mode = self._modes.get(node)
            if mode is None:
                return self._first(node, opened, access, flags)
            if mode.backing_id is None:
                mode.handles.add(opened.handle)
                return Admission(flags)
            if access is Access.READ and _file(opened) == mode.file:
                mode.handles.add(opened.handle)
                self.backed_opens += 1
                return Admission(BACKED, mode.backing_id)
            self._move(node)
            return None

    def release(self, node: int, handle: int) -> None:
        """Count a handle out; with the last one the kernel lets go of the backing file."""
        with self._lock:
            mode = self._modes.get(node)
            if mode is None or handle not in mode.handles:
                return
            mode.handles.discard(handle)
            if mode.handles:
                return
            del self._modes[node]
            if mode.backing_id is not None:
                request = layouts.BACKING_ID.pack(mode.backing_id)
                fcntl.ioctl(self.fd, layouts.BACKING_CLOSE, request)

    def resume(self, handles: Iterable[OpenHandle], generations: dict[int, int]) -> None:
        """Go on from what the kernel holds of an earlier server."""
        with self._lock:
            self._generations.update(generations)
            for handle in handles:
                fresh = Mode(set(), handle.file, handle.backing_id)
                self._modes.setdefault(handle.node, fresh).handles.add(handle.handle)

    def holds(self, node: int, handle: int) -> bool:
        """Whether a handle is counted in."""
        mode = self.mode_of(node)
        return mode is not None and handle in mode.handles

    def mode_of(self, node: int) -> Mode | None:
        """How a node is read; None if it is not open."""
        with self._lock:
            return self._modes.get(node)

    def modes(self) -> dict[int, Mode]:
        """A copy, for those who look."""
        with self._lock:
            return dict(self._modes)

    def _first(self, node: int, opened: Opened, access: Access, flags: int) -> Admission:
        backing_id = None
        may_be_backed = self.enabled and access is Access.READ and not self._is_reserved(node)
        if may_be_backed and opened.backing_fd is not None:
            backing_id = self._register(opened.backing_fd)
        if backing_id is None:
            self._modes[node] = Mode({opened.handle})
            return Admission(flags)
        self._modes[node] = Mode({opened.handle}, _file(opened), backing_id)
        self.backed_opens += 1
        return Admission(BACKED, backing_id)

    def _register(self, fd: int) -> int | None:
        request = bytearray(layouts.BACKING_MAP.pack(fd, 0, 0))
        try:
            backing_id: int = fcntl.ioctl(self.fd, layouts.BACKING_OPEN, request, True)
        except OSError as error:
            self.refused_opens += 1
            if error.errno in REFUSED_FOR_GOOD:
                self.enabled = False
                log.info("passthrough refused, reading through the daemon: %s", error.strerror)
            return None
        return backing_id

    def _move(self, node: int) -> None:
        inode, generation = node & INODE_MASK, node >> GENERATION_SHIFT
        if self._generations.get(inode, 0) == generation:
            # Wraps after 255 moves; by then the kernel has long closed the first one.
            self._generations[inode] = (generation + 1) % 256
            if self.journal is not None:
                self.journal.moved(inode, self._generations[inode])
            self._reserved[self.node_for(inode)] = time.monotonic() + RESERVED_SECONDS
            self.moves += 1

    def _is_reserved(self, node: int) -> bool:
        if time.monotonic() < self._reserved.get(node, 0.0):
            return True
        self._reserved.pop(node, None)
        return False


def _cached_flags(opened: Opened, access: Access) -> int:
    flags = KEEP_CACHE if opened.keep_cache else 0
    if opened.direct:
        flags |= DIRECT_IO
    if access is Access.READ:
        flags |= NOFLUSH  # nothing to flush: saves a request per close
    return flags


def _file(opened: Opened) -> tuple[int, int] | None:
    if opened.backing_fd is None:
        return None
    status = os.fstat(opened.backing_fd)
    return status.st_dev, status.st_ino
