"""The socket of a run's control, for both of its ends."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from datastores.errors import WireError

SOCKET_NAME = "control"
# A lease is about a kilobyte; more than this in one line is no message of ours.
MOST_BYTES = 4 << 20
_CREDENTIALS = struct.Struct("3i")


@contextlib.contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """A name of the folder's socket for `bind` and `connect`, which take no more than 107 bytes."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET_NAME}"
    finally:
        os.close(fd)


def peer_uid(link: socket.socket) -> int:
    """The user at the other end, as the kernel saw it when the connection was made."""
    raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return int(uid)


def read_line(link: socket.socket, end: float) -> bytes:
    """What comes before the first line break, which must come before this moment; empty at the end.

    `WireError` when it is longer than any message, `TimeoutError` when it does not come.
    """
    pieces = bytearray()
    while b"\n" not in pieces:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no whole line within the time; {len(pieces)} bytes came")
        link.settimeout(left)
        piece = link.recv(1 << 16)
        if not piece:
            return b""
        pieces += piece
        if len(pieces) > MOST_BYTES:
            raise WireError(
                f"a message is longer than {MOST_BYTES >> 20} MiB; "
                f"use the same version of this package on both sides"
            )
    return bytes(pieces.partition(b"\n")[0])
