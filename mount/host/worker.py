"""One life of a mount's server: a child of the supervisor, which another one may follow."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

from datastores.storage.verbs import exists
from mount.errors import MountRefused
from mount.fs.chronicle import Chronicle
from mount.fs.revival import RevivableFileSystem
from mount.fs.second_life import Held
from mount.fs.spool import Spool
from mount.fuse.journal import OpenHandle
from mount.fuse.passthrough import INODE_MASK
from mount.fuse.supervisor import NOT_AGAIN, Line, resume
from mount.host.control import Control
from mount.host.duty import Duty
from mount.host.kept import Kept
from mount.host.opening import open_cache, open_order, options_of, view_of
from mount.host.order import MountOrder
from mount.host.sent_error import error_to_wire
from mount.leases import RenewableLease, RenewableStore

log = logging.getLogger(__name__)

# What a worker may take beyond its bound before it is killed.
MARGIN_SECONDS = 5.0


def work(order: MountOrder, line: Line, kept: Kept) -> None:
    """Serve until the mount is gone; a first worker that cannot begin says why and is the last."""
    try:
        duty = _begin(order, line, kept)
    except Exception as error:
        if line.life:
            raise
        log.exception("the mount at %s cannot begin", order.at)
        kept.tell(json.dumps(error_to_wire(error)))
        os._exit(NOT_AGAIN)

    def stop(_number: int, _frame: Any) -> None:
        # A handler must not take the locks that the interrupted thread may hold.
        threading.Thread(target=duty.stop, name="host-stop", daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    Control(kept.listener, duty).start()
    if not line.life:
        kept.tell(json.dumps({"pid": kept.supervisor}))
        duty.warm(order.warm)
    duty.serve()


def _begin(order: MountOrder, line: Line, kept: Kept) -> Duty:
    lease = RenewableLease(str(order.definition.name), kept.lease(order))
    store = open_order(order, lease)
    if not line.life:
        _refuse_single_file(order, store)
    cache = open_cache(order)
    spool = Spool.open(order.spool)
    chronicle = Chronicle.open(kept.chronicle_fd, kept.lookups_fd)
    files = RevivableFileSystem(store, cache, view_of(order), spool, chronicle)
    files.keep_counters(kept.counters_fd)
    _note_versions(files, kept)

    def recover(handles: Sequence[OpenHandle]) -> None:
        files.revive([_held(one) for one in handles])

    mounted = resume(files, line, options=options_of(order), recover=recover)
    return Duty(order, line, kept, lease, store, cache, files, mounted)


def _note_versions(files: RevivableFileSystem, kept: Kept) -> None:
    folder = kept.versions()
    if folder is None:
        return
    try:
        files.note_versions(folder)
    except OSError as error:
        # The mount is worth more than the notes; whoever asks for them hears that there are none.
        log.warning("the versions that are opened are not noted any more: %s", error)
        kept.lose_versions()


def _held(one: OpenHandle) -> Held:
    inode, is_backed = one.node & INODE_MASK, one.backing_id is not None
    return Held(one.handle, inode, one.access, one.is_folder, is_backed)


def _refuse_single_file(order: MountOrder, store: RenewableStore) -> None:
    if order.place and exists(store, order.place):
        raise MountRefused(str(order.at), "it is a single file, which is copied")
