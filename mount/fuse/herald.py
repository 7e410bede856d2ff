"""Hands notices to the kernel from a process of its own, which may hang there.

The kernel holds whoever notifies it until it has the folder's lock or the file's page, and those
may be held by a caller who waits for an answer of this very mount. Nothing ends such a wait, not
even SIGKILL: a server with a thread in it would not be gone when it is killed, it would keep its
locks and its descriptors, and a successor, who could answer the caller, would never be begun.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import Self

from datastores.transfer.children import Child, keep_only

log = logging.getLogger(__name__)

_NUMBER_BYTES = 4
# A name has at most 255 bytes.
_LONGEST_NOTICE = 4096
_END_SECONDS = 1.0


class Herald:
    """The process, and the line to it; one thread at a time may tell it something.

    It has nothing open but the kernel's device, and ends with whoever made it, however that ends.
    """

    def __init__(self, child: Child, line: socket.socket) -> None:
        self._child = child
        self._line = line

    @classmethod
    def fork(cls, fd: int) -> Self:
        """Begin; `OSError` where that cannot be."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def serve() -> None:
            keep_only({0, 1, 2, fd, theirs.fileno()})
            while notice := theirs.recv(_LONGEST_NOTICE):
                theirs.send(hand_over(fd, notice).to_bytes(_NUMBER_BYTES, "big"))

        with theirs:
            try:
                return cls(Child.fork(serve), ours)
            except OSError:
                ours.close()
                raise

    def tell(self, notice: bytes) -> int | None:
        """The kernel's error number, 0 if it took it; None when the process is gone."""
        try:
            self._line.send(notice)
            answer = self._line.recv(_NUMBER_BYTES)
        except OSError as error:
            log.debug("the process that notifies the kernel has gone: %s", error.strerror)
            return None
        return int.from_bytes(answer, "big") if answer else None

    def close(self) -> None:
        """It ends when it has handed over what it was told; while it hangs, nobody waits for it."""
        self._line.close()
        self._child.end(_END_SECONDS)


def hand_over(fd: int, notice: bytes) -> int:
    """Write a notice; the kernel's error number, 0 if it took it."""
    try:
        os.write(fd, notice)
    except OSError as error:
        return error.errno or errno.EIO
    return 0
