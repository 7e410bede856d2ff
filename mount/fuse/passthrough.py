"""Which files the kernel reads by itself.

A node of the kernel is cached (pages, filled by READ) or backed (a local file that the kernel
reads without asking) from its first open handle to its last, never both: an open in the other mode
fails in the kernel with EIO. So the first open chooses, the others follow; and where one cannot
follow, because it writes or because it is another version, the inode gets a further node. The
caller answers that open with ESTALE, the kernel looks the name up again, is told the new node,
and opens that. Readers keep the old bytes, the writer gets the cache, and no program notices.

A handle that may write is never backed: the kernel would write into the cache's file.

A file is registered with the kernel when it is first read that way, and stays so for as long as
the file system keeps it: registering and its counterpart take 6 us of system calls.
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
from typing import NamedTuple

from mount.fs.contract import Access, Backing, Opened
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


# Plain numbers: arithmetic with enumerations was a tenth of an open, and looking a member up takes
# Python 0.14 us each time.
READ = Access.READ
KEEP_CACHE, DIRECT_IO, NOFLUSH, PASSTHROUGH = map(
    int, (OpenFlag.KEEP_CACHE, OpenFlag.DIRECT_IO, OpenFlag.NOFLUSH, OpenFlag.PASSTHROUGH)
)
BACKED = PASSTHROUGH | NOFLUSH


class Admission(NamedTuple):
    """What the kernel is told about an open file, and which file it reads."""

    flags: int
    backing_id: int = 0
    file: tuple[int, int] | None = None


@dataclass(slots=True, eq=False)
class Registration:
    """A file that the kernel knows by number, until nobody reads or keeps it any more."""

    admission: Admission
    modes: int = 0
    is_kept: bool = False  # by the file system, for later opens


@dataclass(slots=True)
class Mode:
    """How an open node is read; `registration` is None where it is cached."""

    handles: set[int]
    registration: Registration | None = None
    backing: Backing | None = None  # of a cached node: the file that may be complete by now

    @property
    def backing_id(self) -> int | None:
        return self.registration.admission.backing_id if self.registration else None


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
        self._is_over = False
        self._registered = 0
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
            if mode is None or mode.registration is None:
                return False
            self._move(node)
            return True

    def admit(self, node: int, opened: Opened, access: Access) -> Admission | None:
        """Count a handle in; None if the node is backed by another file: look it up again."""
        with self._lock:
            mode = self._modes.get(node)
            if mode is None:
                return self._first(node, opened, access)
            registration = mode.registration
            if registration is None:
                mode.handles.add(opened.handle)
                return Admission(_cached_flags(opened, access))
            if access is READ and _is_of(opened, registration):
                mode.handles.add(opened.handle)
                self.backed_opens += 1
                return registration.admission
            self._move(node)
            return None

    def release(self, node: int, handle: int) -> Backing | None:
        """Count a handle out; the kernel lets go of a file that nobody keeps with its last one.

        What is returned was read through the kernel's pages up to now; once it is complete the next
        reader has no use for them.
        """
        with self._lock:
            mode = self._modes.get(node)
            if mode is None or handle not in mode.handles:
                return None
            mode.handles.discard(handle)
            if mode.handles:
                return None
            del self._modes[node]
            registration = mode.registration
            if registration is None:
                return mode.backing if self.enabled else None
            registration.modes -= 1
            if not registration.is_kept:
                self._settle(registration)
            return None

    def resume(
        self,
        handles: Iterable[OpenHandle],
        generations: dict[int, int],
        registered: Iterable[int] = (),
    ) -> None:
        """Go on from what the kernel holds of an earlier server; what only that one kept goes."""
        with self._lock:
            self._generations.update(generations)
            known: dict[int, Registration] = {}
            for handle in handles:
                mode = self._modes.get(handle.node)
                if mode is None:
                    mode = self._modes[handle.node] = Mode(set())
                    if handle.backing_id is not None:
                        fresh = _registration(handle.backing_id, handle.file)
                        mode.registration = known.setdefault(handle.backing_id, fresh)
                        mode.registration.modes += 1
                mode.handles.add(handle.handle)
            self._registered = len(known)
            for backing_id in set(registered) - known.keys():
                self._registered += 1
                self._settle(_registration(backing_id, None))

    def close(self) -> None:
        """The connection is over, and with it all that was registered."""
        with self._lock:
            self._is_over = True

    @property
    def registered(self) -> int:
        """How many files the kernel knows by number."""
        with self._lock:
            return self._registered

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

    def _first(self, node: int, opened: Opened, access: Access) -> Admission:
        registration: Registration | None = None
        may_be_backed = self.enabled and access is READ
        if self._reserved and self._is_reserved(node):
            may_be_backed = False
        if may_be_backed and opened.backing_fd is not None:
            if opened.backing is not None:
                registration = opened.backing.registered
            if registration is None:
                registration = self._register(opened.backing_fd, opened.backing)
        if registration is None:
            self._modes[node] = Mode({opened.handle}, None, opened.backing)
            return Admission(_cached_flags(opened, access))
        registration.modes += 1
        self._modes[node] = Mode({opened.handle}, registration)
        self.backed_opens += 1
        return registration.admission

    def _register(self, fd: int, backing: Backing | None) -> Registration | None:
        """The file under a number of the kernel's; None if that refuses."""
        request = bytearray(layouts.BACKING_MAP.pack(fd, 0, 0))
        try:
            backing_id: int = fcntl.ioctl(self.fd, layouts.BACKING_OPEN, request, True)
        except OSError as error:
            self.refused_opens += 1
            if error.errno in REFUSED_FOR_GOOD:
                self.enabled = False
                log.info("passthrough refused, reading through the daemon: %s", error.strerror)
            return None
        self._registered += 1
        if self.journal is not None:
            self.journal.registered(backing_id)
        status = os.fstat(fd)
        registration = _registration(backing_id, (status.st_dev, status.st_ino))
        if backing is not None:
            registration.is_kept = True
            backing.registered, backing.at_end = registration, self._end
        return registration

    def _end(self, backing: Backing) -> None:
        """The file system closes the file."""
        with self._lock:
            registration: Registration = backing.registered
            registration.is_kept = False
            self._settle(registration)

    def _settle(self, registration: Registration) -> None:
        """Forget a file that is neither read nor kept; lock held."""
        if registration.modes or registration.is_kept or self._is_over:
            return
        self._registered -= 1
        backing_id = registration.admission.backing_id
        request = layouts.BACKING_ID.pack(backing_id)
        try:
            fcntl.ioctl(self.fd, layouts.BACKING_CLOSE, request)
        except OSError as error:
            # The connection is gone, or an earlier server ended between this call and its note.
            log.debug("the kernel no longer knew a backing file: %s", error.strerror)
        if self.journal is not None:
            self.journal.unregistered(backing_id)

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
        until = self._reserved.get(node)
        if until is None:
            return False
        if time.monotonic() < until:
            return True
        del self._reserved[node]
        return False


def _cached_flags(opened: Opened, access: Access) -> int:
    flags = KEEP_CACHE if opened.keep_cache else 0
    if opened.direct:
        flags |= DIRECT_IO
    if access is READ:
        flags |= NOFLUSH  # nothing to flush: saves a request per close
    return flags


def _registration(backing_id: int, file: tuple[int, int] | None) -> Registration:
    return Registration(Admission(BACKED, backing_id, file))


def _is_of(opened: Opened, registration: Registration) -> bool:
    """Whether an open file is the one that is registered."""
    if opened.backing_fd is None:
        return False
    if opened.backing is not None and opened.backing.registered is registration:
        return True
    status = os.fstat(opened.backing_fd)
    return (status.st_dev, status.st_ino) == registration.admission.file
