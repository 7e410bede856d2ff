"""Connections to one host, kept open and lent to one request at a time."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
import urllib.parse
from collections import deque
from typing import TYPE_CHECKING

from datastores.storage.contract import Patience

if TYPE_CHECKING:
    from ssl import SSLContext

# Azure's load balancers forget a silent connection after four minutes, and some firewalls sooner
# and without a word; then a request would wait for its answer as long as patience lasts.
_LONGEST_IDLE_SECONDS = 60.0


class Connection:
    """One connection, and when it was last used."""

    __slots__ = ("idle_since", "is_tls", "socket")

    def __init__(self, made: socket.socket, *, is_tls: bool) -> None:
        self.socket = made
        self.is_tls = is_tls
        self.idle_since: float | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether no request has gone through it yet."""
        return self.idle_since is None


class Sockets:
    """Any thread may take a connection, which is then its own until it is given back."""

    def __init__(self, url: str, patience: Patience) -> None:
        address = urllib.parse.urlsplit(url)
        self._is_tls = address.scheme == "https"
        self._host = address.hostname or ""
        self._port = address.port or (443 if self._is_tls else 80)
        self._patience = patience
        # Appending and popping are atomic.
        self._idle: deque[Connection] = deque()
        self._context: SSLContext | None = None

    def take(self, *, sure: bool) -> Connection:
        """The connection that was used last, or a new one.

        With `sure` it is one that the host has not closed, as far as is known here.
        """
        while True:
            try:
                kept = self._idle.pop()
            except IndexError:
                return self.connect()
            rested = time.monotonic() - (kept.idle_since or 0.0)
            if rested < _LONGEST_IDLE_SECONDS and not (sure and _has_something(kept.socket)):
                return kept
            kept.socket.close()

    def connect(self) -> Connection:
        """A new one."""
        return Connection(self._connected(), is_tls=self._is_tls)

    def give_back(self, connection: Connection) -> None:
        """For the next request; nothing may be left to read in it."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def close(self) -> None:
        """Let go of the connections that nobody uses."""
        while self._idle:
            self._idle.pop().socket.close()

    def renew(self) -> None:
        """In a forked child: the connections are its parent's, who goes on using them."""
        self._idle = deque()
        # A thread of the parent may have held its locks.
        self._context = None

    def _connected(self) -> socket.socket:
        patience = self._patience
        made = socket.create_connection((self._host, self._port), patience.connect_seconds)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._is_tls:
                made = self._tls().wrap_socket(made, server_hostname=self._host)
            _bound(made, patience.read_seconds, is_tls=self._is_tls)
        except BaseException:
            made.close()
            raise
        return made

    def _tls(self) -> SSLContext:
        if self._context is None:
            import ssl

            self._context = ssl.create_default_context(cafile=trusted_certificates())
        return self._context


def trusted_certificates() -> str:
    """The file of authorities that vouch for hosts: the environment's, as for Azure's clients."""
    given = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    if given:
        return given
    import certifi

    return certifi.where()


def _has_something(idle: socket.socket) -> bool:
    # Nobody asked for anything, so what is there to be read can only be the end.
    poll = select.poll()
    poll.register(idle, select.POLLIN)
    return bool(poll.poll(0))


def _bound(made: socket.socket, seconds: float, *, is_tls: bool) -> None:
    if is_tls:
        # OpenSSL would ask again for ever.
        made.settimeout(seconds)
        return
    # The kernel keeps the time: Python's own time-outs ask `poll` before every call.
    made.settimeout(None)
    wait = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
