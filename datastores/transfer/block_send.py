"""Sending a large file: blocks in parallel, committed at the end, resumed from what was staged."""

from __future__ import annotations

import hashlib
import os
import threading
from functools import partial
from typing import TYPE_CHECKING

from datastores.errors import AlreadyExists
from datastores.storage.contract import ABSENT
from datastores.transfer.checksum import fingerprint
from datastores.transfer.crew import Work
from datastores.transfer.options import Overwrite
from datastores.transfer.pieces import Pieces
from datastores.transfer.ranges import block_bytes
from datastores.transfer.sending import is_same
from datastores.transfer.small_send import changed

if TYPE_CHECKING:
    from datastores.storage.contract import Staging
    from datastores.transfer.sending import Sending
    from datastores.transfer.sources import Found

# What a body that is sent whole weighs: clients may copy it once on its way into the socket. Blocks
# weigh what they are, since the store that stages them sends from our memory.
COPIES = 2


class BlockSend:
    """One large file on its way; the thread that ends its last block commits it."""

    def __init__(self, sending: Sending, found: Found, staging: Staging) -> None:
        self._sending = sending
        self._found = found
        self._staging = staging
        self._key = sending.key(found)
        self._block = block_bytes(found.size, staging.largest_block, staging.most_blocks)
        self._fd = -1
        # Blocks an earlier run sent: id and size.
        self._staged: dict[str, int] = {}
        self._reading = threading.Lock()
        # Under the reading lock: blocks are read, and hashed, strictly in order.
        self._ids: list[str] = []
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._pieces = Pieces(self._complete)
        self._pieces.left = -(-found.size // self._block)

    def open(self) -> None:
        """Open the file, ask what is there already, and queue the blocks."""
        sending = self._sending
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_BINARY", 0)
            self._fd = os.open(self._found.path, flags)
            sending.open_files.add(self)
            self._refuse_change()
            self._staged = {block.id: block.size for block in self._staging.staged(self._key)}
        except Exception as error:  # noqa: BLE001  # reported with the file's name
            self.close()
            sending.fail(self._found.name, error)
            return
        sending.ledger.started(self._found.name)
        work = Work(partial(self._pieces.run, self._send_next), self._block)
        sending.crew.add([work] * self._pieces.left)

    def close(self) -> None:
        """Let go of the file; blocks that were sent wait for the next run."""
        self._sending.open_files.discard(self)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _send_next(self) -> int | None:
        with self._reading:
            self._sending.crew.check()
            buffer = self._sending.buffers.lend(self._block)
            block_id, view = self._read_next(buffer)
        name, size = self._found.name, view.nbytes
        try:
            if self._staged.get(block_id) == size:
                self._sending.ledger.resumed(name, size)
                return None
            self._staging.stage(self._key, block_id, view)
        finally:
            # The view must go first: a buffer with a view cannot be lent again safely.
            view.release()
            self._sending.buffers.take_back(buffer)
        self._sending.ledger.moved(name, size)
        return size

    def _read_next(self, buffer: bytearray) -> tuple[str, memoryview]:
        start = len(self._ids) * self._block
        wanted = min(self._block, self._found.size - start)
        view = memoryview(buffer)[:wanted]
        got = 0
        while got < wanted and (more := os.preadv(self._fd, [view[got:]], start + got)):
            got += more
        if got < wanted:
            raise changed(self._found)
        block_id = self._identify(view)
        self._ids.append(block_id)
        return block_id, view

    def _identify(self, view: memoryview) -> str:
        # The id says where the block lies and what it holds, so a block staged by an earlier run
        # is used again only if it is this one. Where the whole object's MD5 is wanted anyway, that of
        # everything up to here costs nothing.
        index = len(self._ids)
        if self._sending.options.declare_md5:
            self._md5.update(view)
            return f"{index:05d}-{self._md5.hexdigest()}"
        return f"{index:05d}-{fingerprint(view)}"

    def _complete(self) -> None:
        try:
            if self._pieces.error is None:
                self._commit()
        except Exception as failed:  # noqa: BLE001  # reported with the file's name
            self._pieces.error = failed
        finally:
            self.close()
        if self._pieces.error is not None:
            self._sending.fail(self._found.name, self._pieces.error)

    def _refuse_change(self) -> None:
        if not is_same(self._found, os.fstat(self._fd)):
            raise changed(self._found)

    def _commit(self) -> None:
        sending = self._sending
        self._refuse_change()
        sending.crew.check()
        new_only = sending.options.overwrite is Overwrite.SKIP_EXISTING
        try:
            info = self._staging.commit(
                self._key,
                self._ids,
                only_if=ABSENT if new_only else None,
                metadata=sending.metadata(self._found),
                md5=self._md5.digest() if sending.options.declare_md5 else None,
            )
        except AlreadyExists:
            # Without the condition nothing refuses what is there.
            sending.ledger.skipped(self._found.name, "it exists")
            return
        sending.arrived(self._found, info)
