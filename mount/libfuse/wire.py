"""What the two processes of a mount say to each other: values, and descriptors beside them.

A message is its length and a value of plain Python types. Both ends are the same interpreter, one
started by the other, joined by a socket that nobody else can reach.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct("=I")
BUFFER_BYTES = 256 << 10
# The control socket: a further line for requests comes with this byte, as a descriptor.
LINE = b"L"
# The kernel has accepted the mount.
READY = b"R"


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a line that takes a whole request at once."""
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return ends


def send(channel: socket.socket, value: Any, fds: Sequence[int] = ()) -> None:
    """One message, with descriptors that the other end gets copies of."""
    body = marshal.dumps(value)
    head = LENGTH.pack(len(body))
    if fds:
        socket.send_fds(channel, [head], fds)
        channel.sendall(body)
        return
    # One system call for the usual message; the rest of a large one follows.
    sent = channel.sendmsg([head, body])
    if sent < len(head) + len(body):
        channel.sendall(memoryview(head + body)[sent:])


def receive(channel: socket.socket) -> Any:
    """The next value; EOFError when the other end is gone."""
    (length,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    return marshal.loads(_exactly(channel, length))  # noqa: S302 - from our own other half


def receive_with_fd(channel: socket.socket) -> tuple[Any, int | None]:
    """The next value and the descriptor that came with it."""
    head, fds, _, _ = socket.recv_fds(channel, LENGTH.size, 1)
    if len(head) < LENGTH.size:
        head += _exactly(channel, LENGTH.size - len(head))
    for fd in fds:
        os.set_inheritable(fd, False)
    (length,) = LENGTH.unpack(head)
    value = marshal.loads(_exactly(channel, length))  # noqa: S302 - as above
    return value, fds[0] if fds else None


def _exactly(channel: socket.socket, length: int) -> bytes:
    pieces: list[bytes] = []
    while length:
        # Waits for all of it: one allocation and one system call, unless a signal comes.
        piece = channel.recv(length, socket.MSG_WAITALL)
        if not piece:
            raise EOFError
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
