"""The control socket's server: HTTP and JSON, for the host's owner and root."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Protocol

from typing_extensions import override

from datastores.contract import LeaseSpec
from datastores.contract.decoding import Misfit, decode
from datastores.errors import DatastoresError, PermissionDenied, WireError
from mount.errors import MountError
from mount.host.order import lease_from_json
from mount.host.sent_error import error_to_wire

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20
SILENCE_SECONDS = 30.0
_CREDENTIALS = struct.Struct("=iII")


class Desk(Protocol):
    """Whoever carries out what is asked; answers are JSON objects."""

    def status(self) -> dict[str, Any]: ...

    def renew(self, lease: LeaseSpec) -> None: ...

    def warm(self, patterns: tuple[str, ...]) -> None: ...

    def refresh(self) -> None: ...

    def note_versions(self, folder: str) -> dict[str, Any]: ...

    def versions(self, since: int, after: str) -> dict[str, Any]: ...

    def release(self, bound_seconds: float) -> dict[str, Any]: ...

    def released(self) -> None:
        """The answer to a release is on its way; nothing else has to be said."""


class Control:
    """Serves a listening socket by threads of its own."""

    def __init__(self, listener: socket.socket, desk: Desk) -> None:
        self._server = _Server(listener, desk)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="host-control", daemon=True
        )

    def start(self) -> None:
        self._thread.start()


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, desk: Desk) -> None:
        super().__init__("", _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.desk = desk

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a caller of the control socket left in the middle")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENCE_SECONDS
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    @override
    def address_string(self) -> str:
        return "control"

    @override
    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    @override
    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self._send(code, error_to_wire(WireError(f"{message}; ask as the class Host does")))

    def _answer(self) -> None:
        try:
            status, answer = 200, self._carry_out()
        except PermissionDenied as error:
            status, answer = 403, error_to_wire(error)
        except _UnknownVerb as error:
            status, answer = 404, error_to_wire(error)
        except WireError as error:
            status, answer = 400, error_to_wire(error)
        except DatastoresError as error:
            status, answer = 409, error_to_wire(error)
        except Exception as error:
            log.exception("%s failed", self.path)
            status, answer = 500, error_to_wire(error)
        self._send(status, answer)
        if status == 200 and self.path == "/release":
            self.server.desk.released()

    def _carry_out(self) -> dict[str, Any]:
        self._refuse_strangers()
        body = self._body()
        desk = self.server.desk
        match (self.command, self.path):
            case ("GET", "/status"):
                return desk.status()
            case ("POST", "/lease"):
                desk.renew(lease_from_json(body))
            case ("POST", "/warm"):
                desk.warm(_field(body, "patterns", tuple[str, ...]))
            case ("POST", "/refresh"):
                desk.refresh()
            case ("POST", "/note-versions"):
                return desk.note_versions(_field(body, "folder", str))
            case ("POST", "/versions"):
                given = _fields(body, {"since": int, "after": str})
                return desk.versions(given["since"], given["after"])
            case ("POST", "/release"):
                return desk.release(_field(body, "bound_seconds", float))
            case _:
                raise _UnknownVerb(
                    f'the host knows no "{self.command} {self.path}"; ask GET /status, or POST'
                    " /lease, /warm, /refresh, /note-versions, /versions or /release"
                )
        return {}

    def _refuse_strangers(self) -> None:
        raw = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in {0, os.getuid()}:
            raise PermissionDenied(
                "host", None, f"user {uid} does not own this mount; ask as its owner or as root"
            )

    def _body(self) -> bytes:
        text = self.headers.get("Content-Length", "0")
        if not text.isdecimal() or int(text) > MOST_BYTES:
            raise WireError(f'"{text}" is no length for a request; send at most {MOST_BYTES} bytes')
        return self.rfile.read(int(text))

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class _UnknownVerb(MountError):
    """Travels as the `MountError` that it is to callers."""


def _field(body: bytes, name: str, hint: Any) -> Any:
    """The one field of a request."""
    return _fields(body, {name: hint})[name]


def _fields(body: bytes, hints: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request, exactly these."""
    names = " and ".join(f'"{name}"' for name in hints)
    try:
        raw = json.loads(body)
    except ValueError:
        raise WireError(f"the request is not JSON; send an object with {names}") from None
    if not isinstance(raw, dict) or set(raw) != set(hints):
        raise WireError(f"the request does not have exactly the field {names}; send only that")
    try:
        return {name: decode(hint, raw[name], name) for name, hint in hints.items()}
    except Misfit as error:
        raise error.about("the request") from None
