"""A mount and its life: made, served, taken away."""

from __future__ import annotations

import logging
import os
import threading
from types import TracebackType
from typing import Self

from datastores.value import Value
from mount.errors import MountError
from mount.fs.contract import FileSystem
from mount.fuse import device, mounts
from mount.fuse.connection import Connection
from mount.fuse.dispatch import Dispatch
from mount.fuse.journal import Journal, Notes
from mount.fuse.negotiation import Agreement
from mount.fuse.notify import Notifier
from mount.fuse.options import MountOptions
from mount.fuse.passthrough import Passthrough
from mount.fuse.pool import Pool
from mount.fuse.session import Session, handshake

log = logging.getLogger(__name__)

# After the connection is gone nobody waits for an answer any more.
LAST_SECONDS = 10.0


class Figures(Value):
    """What a mount did so far."""

    requests: int
    waited: int
    defects: int
    backed_opens: int
    backing_refused: int
    moves: int
    by_op: dict[int, int]


class Mounted:
    """A mount that answers while it is served.

    As a context manager it is served by a thread, and unmounted at the end.
    """

    def __init__(
        self,
        mountpoint: str,
        filesystem: FileSystem,
        session: Session,
        modes: Passthrough,
        notifier: Notifier,
        connection: Connection | None,
    ) -> None:
        self.mountpoint = mountpoint
        self.connection = connection  # None: mounted by somebody else, elsewhere
        self.filesystem = filesystem
        self.session = session
        self.modes = modes
        self.notifier = notifier
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def passthrough(self) -> bool:
        """Whether the kernel reads complete files by itself, as far as is known yet."""
        return self.modes.enabled

    @property
    def figures(self) -> Figures:
        """Counters, all of them growing."""
        counters = self.session.counters
        return Figures(
            counters.requests,
            counters.waited,
            self.session.defects.count,
            self.modes.backed_opens,
            self.modes.refused_opens,
            self.modes.moves,
            {op: count for op, count in list(counters.by_op.items()) if count},
        )

    def serve(self) -> None:
        """Answer until the mount is gone."""
        try:
            self.session.serve()
        finally:
            self._end()

    def start(self) -> None:
        """Serve in a thread."""
        self._thread = threading.Thread(target=self.serve, name="fuse-reader", daemon=True)
        self._thread.start()

    def unmount(self, *, lazy: bool = False) -> None:
        """Take the mount away; with files open it is refused, unless it is lazy."""
        if device.INHERITED.fullmatch(self.mountpoint):
            raise MountError(f'"{self.mountpoint}" is mounted by somebody else; unmount it there')
        device.unmount(self.mountpoint, lazy=lazy)

    def wait(self, seconds: float) -> bool:
        """Whether the mount is gone and the file system has stopped, within so many seconds."""
        return self._over.wait(seconds)

    def abort(self) -> bool:
        """Make the kernel give up: every caller in the mount gets an error."""
        return self.connection is not None and self.connection.abort()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # An aborted connection is over and still in the way.
        if self.connection is not None:
            self.connection.unmount(self.mountpoint)
        if not self.wait(LAST_SECONDS):
            # Files are still open; their owners get an error instead of a wait without end.
            log.warning("files below %s are still open; their connection is cut", self.mountpoint)
            self.abort()
            self.wait(LAST_SECONDS)
        if self.connection is not None:
            self.connection.close()

    def _end(self) -> None:
        finished = self.session.pool.close(LAST_SECONDS)
        finished = self.notifier.close(LAST_SECONDS) and finished
        self.modes.close()
        try:
            self.filesystem.stop()
        finally:
            if finished:
                os.close(self.session.fd)
            else:
                # A thread may still write its answer: to this descriptor, not to its successor.
                log.warning("requests of %s are still being worked on", self.mountpoint)
            self._over.set()


def mount(filesystem: FileSystem, mountpoint: str, *, options: MountOptions) -> Mounted:
    """A new mount, agreed with the kernel and not served yet; refused with the reason."""
    is_inherited = device.INHERITED.fullmatch(mountpoint) is not None
    place = mountpoint if is_inherited else os.path.realpath(mountpoint)
    fd = device.open_mount(place, options)
    try:
        agreement = handshake(fd, place, options)
        mounted = assemble(filesystem, fd, place, agreement, options)
        filesystem.start(mounted.notifier)
    except BaseException:
        if not is_inherited:
            device.unmount(place, lazy=True)
        os.close(fd)
        raise
    mounted.notifier.start()
    return mounted


def assemble(
    filesystem: FileSystem,
    fd: int,
    place: str,
    agreement: Agreement,
    options: MountOptions,
    journal: Journal | None = None,
    notes: Notes | None = None,
) -> Mounted:
    """The parts of a mount, put together; nothing runs yet."""
    modes = Passthrough(fd, journal, enabled=agreement.passthrough)
    handles = notes.handles if notes else ()
    if notes:
        files = [handle for handle in handles if not handle.is_folder]
        modes.resume(files, notes.generations, notes.registered)
    notifier = Notifier(fd, modes.nodes_of)
    dispatch = Dispatch(filesystem, modes, journal, options.umask, handles, notifier.drop_pages)
    session = Session(
        fd, agreement, dispatch.table(), dispatch.withdraw, Pool(options.threads), dispatch.errand
    )
    mounts.set_readahead(place, options.readahead_bytes)
    return Mounted(place, filesystem, session, modes, notifier, Connection.of(place))
