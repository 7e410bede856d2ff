"""A mount that survives its server.

The supervisor mounts, keeps the descriptor and does nothing else that could break. The server is
its child. When that is killed, callers sleep in the kernel; the next one asks for the unanswered
requests again, and callers go on. They notice a pause.

The supervisor must be a process of its own with a single thread: it forks.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence

from datastores.value import Value
from mount.errors import MountError
from mount.fs.contract import FileSystem
from mount.fuse import device
from mount.fuse.connection import Connection
from mount.fuse.herald import Herald
from mount.fuse.journal import MemoryJournal, OpenHandle
from mount.fuse.layouts import HEADER_OUT, Notice
from mount.fuse.mounted import Mounted, assemble
from mount.fuse.options import MountOptions
from mount.fuse.session import handshake
from mount.fuse.survivor import Survivor

log = logging.getLogger(__name__)

WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
# The exit code of a worker that is not to be replaced: its successor would fail like it.
NOT_AGAIN = 3


class Endurance(Value):
    """When a mount is given up.

    A worker that dies `most_deaths` times within `within_seconds` will not get better. One that
    was asked to stop may flush for `stop_seconds`; then it is killed.
    """

    most_deaths: int = 5
    within_seconds: float = 60.0
    stop_seconds: float = 60.0


USUAL = Endurance()


class Line(Value):
    """What a worker is given: the connection, its predecessors' notes, how many they were."""

    place: str
    fd: int
    notes_fd: int
    life: int


def supervise(
    mountpoint: str,
    worker: Callable[[Line], None],
    *,
    options: MountOptions,
    endurance: Endurance = USUAL,
    on_mounted: Callable[[Connection | None], None] | None = None,
) -> int:
    """Mount, and keep a worker serving until the mount is gone; how often one had to be replaced.

    SIGTERM and SIGINT unmount lazily, are passed on to the worker as SIGTERM, and give it a bounded
    time to flush. A worker that keeps dying is given up: the connection is cut, so that callers
    get an error. One that exits with `NOT_AGAIN` is not replaced. `on_mounted` is called between
    the mount and the first worker.
    """
    place = os.path.realpath(mountpoint)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    fd = device.open_mount(place, options)
    notes_fd = os.memfd_create("mount-notes")
    connection = Connection.of(place)
    survivor = _survivor(place, connection)
    deaths: deque[float] = deque(maxlen=endurance.most_deaths)
    life = 0
    try:
        if on_mounted is not None:
            on_mounted(connection)
        while not _lived_to_the_end(
            _start(worker, Line(place, fd, notes_fd, life)), place, endurance.stop_seconds
        ):
            deaths.append(time.monotonic())
            life += 1
            is_often = len(deaths) == endurance.most_deaths
            if is_often and deaths[-1] - deaths[0] < endurance.within_seconds:
                raise MountError(
                    f'the server of "{place}" died {len(deaths)} times within'
                    f" {deaths[-1] - deaths[0]:.0f} s; look at its log, then mount anew"
                )
            log.warning("the server of %s died and is replaced", place)
    finally:
        if connection is not None:
            connection.unmount(place)
        # The last descriptor: the kernel cuts what is left of the connection.
        os.close(fd)
        os.close(notes_fd)
        if survivor is not None:
            survivor.end()
        if connection is not None:
            connection.close()
    return life


def resume(
    filesystem: FileSystem,
    line: Line,
    *,
    options: MountOptions,
    recover: Callable[[Sequence[OpenHandle]], None] | None = None,
) -> Mounted:
    """A worker's mount, ready to be served.

    In a second life `recover` is called first, with the handles that the kernel still holds: the
    file system must know these, and every inode that it ever gave out, under the same numbers.
    """
    # Before there are threads and much memory, which a fork would copy the tables of.
    herald = _herald(line)
    journal = MemoryJournal(line.notes_fd)
    notes = journal.load()
    if line.life:
        # Comes before everything else: even INIT may have died with the predecessor.
        os.write(line.fd, HEADER_OUT.pack(HEADER_OUT.size, Notice.RESEND, 0))
    agreement = notes.agreement
    if agreement is None:
        agreement = handshake(line.fd, line.place, options)
        journal.agreed(agreement)
    elif not agreement.resend:
        raise MountError(f'"{line.place}" cannot be resumed on this kernel; mount it anew')
    if line.life and recover is not None:
        recover(notes.handles)
    mounted = assemble(filesystem, line.fd, line.place, agreement, options, journal, notes)
    filesystem.start(mounted.notifier)
    mounted.notifier.start(herald)
    return mounted


def _survivor(place: str, connection: Connection | None) -> Survivor | None:
    if connection is None:
        return None
    try:
        return Survivor.fork(connection)
    except OSError as error:
        log.warning("%s has nobody to survive its server: %s", place, error.strerror)
        return None


def _herald(line: Line) -> Herald | None:
    try:
        return Herald.fork(line.fd)
    except OSError as error:
        log.warning("%s has no process of its own for notices: %s", line.place, error.strerror)
        return None


def _start(worker: Callable[[Line], None], line: Line) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        # Ctrl-C reaches the whole group; the supervisor turns it into an unmount. Workers that
        # have more to do at SIGTERM than to wait for that say so.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        worker(line)
        code = 0
    except BaseException:
        log.exception("the server of %s failed", line.place)
    finally:
        os._exit(code)


def _lived_to_the_end(child: int, place: str, stop_seconds: float) -> bool:
    """Wait for a worker; whether it ended because the mount did."""
    deadline: float | None = None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return deadline is not None or code in {0, NOT_AGAIN}
        if deadline is not None and time.monotonic() > deadline:
            log.error("the server of %s did not stop in time and is killed", place)
            os.kill(child, signal.SIGKILL)
            deadline += stop_seconds
        caught = signal.sigtimedwait(WATCHED, 1.0)
        if deadline is not None:
            # It may have come to life after the first one.
            os.kill(child, signal.SIGTERM)
        if caught is not None and caught.si_signo != signal.SIGCHLD and deadline is None:
            deadline = time.monotonic() + stop_seconds
            try:
                device.unmount(place, lazy=True)
            finally:
                os.kill(child, signal.SIGTERM)
