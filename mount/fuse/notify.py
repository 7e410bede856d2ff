"""What the kernel is told without having asked: that something it remembers is no longer true."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from mount.fuse.herald import Herald, hand_over
from mount.fuse.layouts import HEADER_OUT, INVAL_ENTRY_OUT, INVAL_INODE_OUT, Notice

log = logging.getLogger(__name__)

# The kernel did not remember it anyway; the mount is over.
FINE = {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.EBADF, errno.ENOTEMPTY}


class Notifier:
    """The file system's line to the kernel.

    Notices are written by a thread of their own: the kernel waits in the write for pages that it
    is just reading from us, so a serving thread that wrote one would wait for itself for ever.
    With a herald they are written in its process, and this one can be killed at any time.
    """

    def __init__(self, fd: int, nodes_of: Callable[[int], list[int]]) -> None:
        self.fd = fd
        self.herald: Herald | None = None  # from the start on of the thread alone
        self.nodes_of = nodes_of
        self.sent = 0  # of the thread alone
        self._notices: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fuse-notify", daemon=True)

    def start(self, herald: Herald | None = None) -> None:
        """Begin to write."""
        self.herald = herald
        self._thread.start()

    def forget_data(self, inode: int) -> None:
        for node in self.nodes_of(inode):
            self._put(Notice.INVAL_INODE, INVAL_INODE_OUT.pack(node, 0, 0))

    def forget_name(self, folder: int, name: bytes) -> None:
        for node in self.nodes_of(folder):
            body = INVAL_ENTRY_OUT.pack(node, len(name), 0) + name + b"\0"
            self._put(Notice.INVAL_ENTRY, body)

    def drop_pages(self, node: int) -> None:
        """The kernel need not keep what it has read of this node."""
        self._put(Notice.INVAL_INODE, INVAL_INODE_OUT.pack(node, 0, 0))

    def settle(self, seconds: float) -> bool:
        """Whether everything asked so far has been written, within so many seconds."""
        reached = threading.Event()
        self._notices.put(reached)
        return reached.wait(seconds)

    def close(self, seconds: float) -> bool:
        """End after what was asked; False if that takes longer than so many seconds."""
        self._notices.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _put(self, notice: Notice, body: bytes) -> None:
        self._notices.put(HEADER_OUT.pack(HEADER_OUT.size + len(body), notice, 0) + body)

    def _work(self) -> None:
        while (notice := self._notices.get()) is not None:
            if isinstance(notice, threading.Event):
                notice.set()
                continue
            refused = self._hand_over(notice)
            if refused and refused not in FINE:
                log.warning("the kernel refused a notice: %s", os.strerror(refused))
            self.sent += 1
        if self.herald:
            self.herald.close()

    def _hand_over(self, notice: bytes) -> int:
        if self.herald:
            refused = self.herald.tell(notice)
            if refused is not None:
                return refused
            log.warning("the process that notifies the kernel was killed; it is done here now")
            self.herald.close()
            self.herald = None
        return hand_over(self.fd, notice)
