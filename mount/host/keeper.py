"""The host's own process: mounts, keeps what workers must not lose, and replaces them.

One thread, no store, no library: nothing here can break because of what is mounted.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from mount.errors import MountRefused
from mount.fuse import device
from mount.fuse.connection import Connection
from mount.fuse.supervisor import Endurance, Line, supervise
from mount.host.folder import HostFolder
from mount.host.kept import Kept
from mount.host.leftovers import clear_place, send_leftovers
from mount.host.opening import options_of
from mount.host.order import MountOrder
from mount.host.sent_error import error_to_wire
from mount.host.worker import MARGIN_SECONDS, work

log = logging.getLogger(__name__)


def keep(order: MountOrder, path: Path, ready_fd: int) -> None:
    """A mount's whole life; the pipe is told once whether it began."""
    folder = HostFolder(path)
    lock = folder.lock()
    if lock is None:
        refused = MountRefused(str(order.at), f'a host lives in "{path}"; release it first')
        os.write(ready_fd, json.dumps(error_to_wire(refused)).encode() + b"\n")
        return
    kept = Kept(folder.listen(), ready_fd, [])
    spool = -1
    try:
        spool = _own_spool(order)
        _clear(order, folder)
        order.at.mkdir(parents=True, exist_ok=True)
        kept.left = list(send_leftovers(order))
        _supervise(order, folder, kept)
    except BaseException as error:
        log.exception("the mount at %s ended", order.at)
        kept.tell(json.dumps(error_to_wire(error)))
    finally:
        folder.control.unlink(missing_ok=True)
        kept.close()
        os.close(lock)
        if spool >= 0:
            os.close(spool)


def _supervise(order: MountOrder, folder: HostFolder, kept: Kept) -> None:
    def on_mounted(connection: Connection | None) -> None:
        folder.write_record(
            {
                "name": order.name,
                "at": str(order.at),
                "spool": str(order.spool),
                "pid": os.getpid(),
                "connection": connection.number if connection else None,
                "made": connection.made if connection else None,
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )

    def worker(line: Line) -> None:
        work(order, line, kept)

    restarts = supervise(
        str(order.at),
        worker,
        options=options_of(order),
        endurance=Endurance(
            most_deaths=order.most_restarts, stop_seconds=order.stop_seconds + MARGIN_SECONDS
        ),
        on_mounted=on_mounted,
    )
    log.info("the mount at %s ended, its server was replaced %d times", order.at, restarts)


def _own_spool(order: MountOrder) -> int:
    """The lock of the spool, which workers inherit.

    Between two workers nobody has their files in hand, and another host would take them for
    leftovers.
    """
    order.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(order.spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        reason = f'another mount uses the spool "{order.spool}"; give it one of its own'
        raise MountRefused(str(order.at), reason) from None
    return fd


def _clear(order: MountOrder, folder: HostFolder) -> None:
    """Take away what dead hosts left where this one is going to be."""
    before = folder.read_record()
    if before and clear_place(before):
        log.warning("a dead mount at %s was cleared", before["at"])
    if device.repair(str(order.at)):
        log.warning("a dead mount at %s was cleared", order.at)
