"""The daemon's doors: the control socket for its owner and root, and numbers on TCP if wanted."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from typing_extensions import override

from datastores.errors import DatastoresError, PermissionDenied, WireError
from mount.daemon.desk import Desk, UnknownVerb
from mount.daemon.metrics import CONTENT_TYPE
from mount.errors import DaemonUnreachable
from mount.host.sent_error import error_to_wire

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20
SILENCE_SECONDS = 30.0
_CREDENTIALS = struct.Struct("=iII")


class ControlServer:
    """Serves a listening socket, which outlives it, by threads of its own."""

    def __init__(self, listener: socket.socket, desk: Desk) -> None:
        self._server = _UnixServer(listener, desk)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="control", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Accept nothing more; whether every request that was begun is answered in time."""
        self._server.shutdown()
        return self._server.wait_answered(seconds)


class MetricsServer:
    """Numbers, and nothing else, for whoever can reach the address."""

    def __init__(self, host: str, port: int, desk: Desk) -> None:
        self._server = _MetricsServer((host, port), desk)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, desk: Desk) -> None:
        super().__init__("", _ControlHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.desk = desk
        self._change = threading.Condition()
        self._begun = 0  # under `_change`

    def wait_answered(self, seconds: float) -> bool:
        with self._change:
            return self._change.wait_for(lambda: self._begun == 0, seconds)

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        with self._change:
            self._begun += 1
        super().process_request(request, client_address)

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._change:
                self._begun -= 1
                self._change.notify_all()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("a caller of the control socket left in the middle: %s", sys.exc_info()[1])


class _MetricsServer(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], desk: Desk) -> None:
        super().__init__(address, _MetricsHandler)
        self.desk = desk

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("a reader of the metrics left in the middle: %s", sys.exc_info()[1])


class _Handler(BaseHTTPRequestHandler):
    timeout = SILENCE_SECONDS
    # One request per connection: nobody idles in the way of an upgrade.
    protocol_version = "HTTP/1.0"

    @override
    def address_string(self) -> str:
        return "caller"

    @override
    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _MetricsHandler(_Handler):
    server: _MetricsServer

    def do_GET(self) -> None:
        if self.path.partition("?")[0] == "/metrics":
            self.send(200, self.server.desk.metrics().encode(), CONTENT_TYPE)
        else:
            self.send(404, b"only /metrics is here\n", "text/plain")


class _ControlHandler(_Handler):
    server: _UnixServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        status, kind = 200, "application/json"
        answer: dict[str, Any] | None = None
        try:
            caller = self._caller()
            if (self.command, self.path) == ("GET", "/metrics"):
                kind, body = CONTENT_TYPE, self.server.desk.metrics().encode()
            else:
                answer = self.server.desk.answer(self.command, self.path, self._body(), caller)
                body = json.dumps(answer).encode()
        except DatastoresError as error:
            status, body = _status_of(error), json.dumps(error_to_wire(error)).encode()
        except Exception as error:
            log.exception("%s failed", self.path)
            status, body = 500, json.dumps(error_to_wire(error)).encode()
        try:
            self.send(status, body, kind)
        except ConnectionError:
            if answer is not None:
                self.server.desk.unheard(self.path, answer)
            raise

    def _caller(self) -> int:
        """The process that asks; strangers are refused whatever the socket's permissions are."""
        raw = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in {0, os.getuid()}:
            raise PermissionDenied(
                "daemon", None, f"user {uid} does not own it; ask as its owner or as root"
            )
        return int(pid)

    def _body(self) -> bytes:
        text = self.headers.get("Content-Length", "0")
        if not text.isdecimal() or int(text) > MOST_BYTES:
            raise WireError(f'"{text}" is no length for a request; send at most {MOST_BYTES} bytes')
        return self.rfile.read(int(text))


def _status_of(error: DatastoresError) -> int:
    match error:
        case PermissionDenied():
            return 403
        case UnknownVerb():
            return 404
        case WireError():
            return 400
        case DaemonUnreachable():
            return 503
        case _:
            return 409
