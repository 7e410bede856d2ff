"""What earlier hosts left: files in the spool, sent before a new mount is shown, and dead mounts.

A child sends them, because it can be killed: an upload that ends some time later could bury what the
new mount writes meanwhile.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from datastores.secret import redact
from mount.fs.recovery import Outcome, recover
from mount.fs.spool import Spool
from mount.fuse import device
from mount.fuse.connection import Connection
from mount.host.opening import open_order
from mount.host.order import MountOrder
from mount.leases import RenewableLease

log = logging.getLogger(__name__)

SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


def send_leftovers(order: MountOrder, seconds: float = SECONDS) -> Sequence[str]:
    """Send them, and say in a line each what is still only in the spool."""
    spool = Spool.open(order.spool)
    if not any(spool.folder.glob("*.data")):
        return ()
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        _child(order, spool, theirs)
    os.close(theirs)
    try:
        text = _read(ours, time.monotonic() + seconds)
    finally:
        os.close(ours)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if text.endswith(b"\n"):
        return list(json.loads(text))
    log.warning("the files that an earlier mount left were not all sent within %s s", seconds)
    return name_leftovers(spool)


def name_leftovers(spool: Spool) -> Sequence[str]:
    """What nobody alive has in hand, in a line each."""
    return [f'"{note.key}" in {file.path}' for file, note in spool.abandoned() if note is not None]


def clear_place(record: Mapping[str, Any]) -> bool:
    """Take away the mount of a host whose lock is free; False if there was none.

    A process of its that the kernel holds keeps the connection, and callers wait in it: they get
    an error now.
    """
    place = str(record["at"])
    connection = Connection.of(place)
    if connection is not None:
        made = connection.made
        if made and (connection.number, made) == (record.get("connection"), record.get("made")):
            connection.abort()
        connection.close()
    return device.repair(place)


def _child(order: MountOrder, spool: Spool, pipe: int) -> None:
    code = 1
    # Without the one who would kill it in time, it must not go on.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        lease = RenewableLease(str(order.definition.name), order.lease)
        found = recover(spool, open_order(order, lease))
        lines = [
            f'"{one.key}" in {one.path}: {redact(one.reason)}'
            for one in found
            if one.outcome not in {Outcome.STORED, Outcome.UNFINISHED}
        ]
        os.write(pipe, json.dumps(lines).encode() + b"\n")
        code = 0
    except BaseException:
        log.exception("what an earlier mount left could not be sent")
    finally:
        os._exit(code)


def _read(pipe: int, deadline: float) -> bytes:
    text = b""
    # Not `select`, which knows no descriptor above 1023.
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(pipe, 1 << 16)
        if not piece:
            break
        text += piece
    return text
