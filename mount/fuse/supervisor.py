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
from dataclasses import dataclass

from mount.errors import MountError
from mount.fs.contract import FileSystem
from mount.fuse import device, mounts
from mount.fuse.journal import MemoryJournal, OpenHandle
from mount.fuse.layouts import HEADER_OUT, Notice
from mount.fuse.mounted import Mounted, assemble
from mount.fuse.options import MountOptions
from mount.fuse.session import handshake

log = logging.getLogger(__name__)

# A server that dies this often within this time will not get better.
MOST_DEATHS = 5
WITHIN_SECONDS = 60.0
# What a server may take to flush after it was asked to stop.
STOP_SECONDS = 60.0
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Line:
    """What a worker is given: the connection, its predecessors' notes, how many they were."""

    place: str
    fd: int
    notes_fd: int
    life: int


def supervise(mountpoint: str, worker: Callable[[Line], None], *, options: MountOptions) -> int:
    """Mount, and keep a worker serving until the mount is gone; how often one had to be replaced.

    SIGTERM and SIGINT unmount lazily and give the worker a bounded time to flush. A worker that
    keeps dying is given up: the connection is cut, so that callers get an error.
    """
    place = os.path.realpath(mountpoint)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    fd = device.open_mount(place, options)
    notes_fd = os.memfd_create("mount-notes")
    line = mounts.find_mount(place)
    deaths: deque[float] = deque(maxlen=MOST_DEATHS)
    life = 0
    try:
        while not _lived_to_the_end(_start(worker, Line(place, fd, notes_fd, life)), place):
            deaths.append(time.monotonic())
            life += 1
            if len(deaths) == MOST_DEATHS and deaths[-1] - deaths[0] < WITHIN_SECONDS:
                raise MountError(
                    f'the server of "{place}" died {MOST_DEATHS} times within'
                    f" {deaths[-1] - deaths[0]:.0f} s; look at its log, then mount anew"
                )
            log.warning("the server of %s died and is replaced", place)
    finally:
        here = mounts.find_mount(place)
        if here is not None and line is not None and here.connection == line.connection:
            device.unmount(place, lazy=True)
        # The last descriptor: the kernel cuts what is left of the connection.
        os.close(fd)
        os.close(notes_fd)
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
    mounted.notifier.start()
    return mounted


def _start(worker: Callable[[Line], None], line: Line) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        # Ctrl-C reaches the whole group; the supervisor turns it into an unmount.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        worker(line)
        code = 0
    except BaseException:
        log.exception("the server of %s failed", line.place)
    finally:
        os._exit(code)


def _lived_to_the_end(child: int, place: str) -> bool:
    """Wait for a worker; whether it ended because the mount did."""
    deadline: float | None = None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return deadline is not None or os.waitstatus_to_exitcode(status) == 0
        if deadline is not None and time.monotonic() > deadline:
            log.error("the server of %s did not stop in time and is killed", place)
            os.kill(child, signal.SIGKILL)
            deadline += STOP_SECONDS
        caught = signal.sigtimedwait(WATCHED, 1.0)
        if caught is not None and caught.si_signo != signal.SIGCHLD and deadline is None:
            deadline = time.monotonic() + STOP_SECONDS
            device.unmount(place, lazy=True)
