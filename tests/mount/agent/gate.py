"""A gate in front of a server: connections pass, or wait until it is opened."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Gate:
    """Listens on a port of its own; leave the `with` block and everything is closed."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        # Set when somebody waits before the closed gate.
        self.reached = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()

    def close(self) -> None:
        """From now on nothing passes."""
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        """Let everything pass, also what has waited."""
        self._open.set()

    def looked_at(self, connection: int, piece: bytes) -> None:
        """Told of everything a client sends, by its connection."""

    def _run(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]  # a callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                behind = socket.create_connection(self._target)
            except OSError:
                return
            with self._lock:
                self._sockets += [client, behind]
            self._run(self._pass, client, behind, True)
            self._run(self._pass, behind, client, False)

    def _pass(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if is_request:
                    self.looked_at(id(source), piece)
                if is_request and not self._open.is_set():
                    self.reached.set()
                    self._open.wait()
                target.sendall(piece)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
