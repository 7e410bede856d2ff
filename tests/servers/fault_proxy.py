"""An HTTP proxy in front of a blob service that stalls, breaks, refuses and lies when told to.

It forwards byte for byte, so signatures stay valid: neither SharedKey nor SAS covers the host. With
`signs`, bearer tokens are taken off and this SAS put in their place, and `TOKEN_PATH` is answered
like a machine's identity endpoint; so a service that believes no tokens can be used with them.
"""

from __future__ import annotations

import contextlib
import enum
import http.client
import json
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import BinaryIO, Self

TOKEN_PATH = "/identity/token"
PIECE_BYTES = 64 * 1024
# A forwarded request that Azurite does not answer is a failure of the test, not of the proxy.
UPSTREAM_SECONDS = 60.0
# Headers about one connection only.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "proxy-connection"}
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Kind(enum.Enum):
    """What a request asks for."""

    GET = "get"
    HEAD = "head"
    PUT_BLOB = "put blob"
    PUT_BLOCK = "put block"
    PUT_BLOCK_LIST = "put block list"
    GET_BLOCK_LIST = "get block list"
    COPY = "copy"
    LIST = "list"
    DELETE = "delete"
    TOKEN = "token"  # not one
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence for so long: before the answer begins, or in the middle of its body.

    With `asks_first`, the service does what was asked before the silence begins.
    """

    seconds: float
    in_body: bool = False
    asks_first: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks: before anything is forwarded, or when only the answer is missing."""

    asks_first: bool = False
    in_body: bool = False


@dataclass(frozen=True, slots=True)
class Truncated:
    """Half of the body, then the end; `admits` lets Content-Length agree with what is sent."""

    admits: bool = False


@dataclass(frozen=True, slots=True)
class Corrupted:
    """One byte of the body is another one; the last if `at` is negative."""

    at: int = 0


@dataclass(frozen=True, slots=True)
class Drip:
    """The body comes a little at a time."""

    piece_bytes: int
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class Says:
    """An answer of its own: nothing is forwarded."""

    status: int
    code: str = ""
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class After:
    """The request is forwarded as it is once this has been done."""

    act: Callable[[], object]


Fault = Stall | Reset | Truncated | Corrupted | Drip | Says | After


@dataclass(slots=True)
class Seen:
    """One request: what it was, and what became of it."""

    kind: Kind
    method: str
    key: str
    range: tuple[int, int | None] | None
    at: float
    token: str | None = None
    status: int | None = None
    fault: Fault | None = None


@dataclass(slots=True)
class _Rule:
    kind: Kind
    fault: Fault
    nth: frozenset[int] | None
    key: str | None
    match: Callable[[Seen], bool] | None
    met: int = 0

    def takes(self, seen: Seen) -> bool:
        if self.kind is not seen.kind or self.key not in (None, seen.key):
            return False
        if self.match is not None and not self.match(seen):
            return False
        self.met += 1
        return self.nth is None or self.met in self.nth


@dataclass(slots=True)
class _Request:
    method: str
    target: str
    headers: http.client.HTTPMessage
    body: bytes


class _Broken(Exception):
    """This connection is not to be used any more."""


@dataclass(slots=True)
class FaultProxy:
    """The running proxy; use it as a context manager.

    Rules are asked in the order they were made, and the first that takes a request decides.
    """

    upstream: str
    signs: str | None = None
    # Answers of the identity endpoint: how long each token lives.
    token_seconds: int = 3600
    requests: list[Seen] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    port: int = 0
    # Waiting faults end when this is set.
    closing: threading.Event = field(default_factory=threading.Event)
    # Under the lock: rules, requests, tokens, open connections.
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _rules: list[_Rule] = field(default_factory=list)
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._stop_listening()
        for thread in self._threads:
            thread.join(UPSTREAM_SECONDS)

    @property
    def endpoint(self) -> str:
        """The upstream's address with this proxy in front."""
        return f"http://127.0.0.1:{self.port}{urllib.parse.urlsplit(self.upstream).path}"

    def on(
        self,
        kind: Kind,
        fault: Fault,
        *,
        nth: int | range | None = None,
        key: str | None = None,
        match: Callable[[Seen], bool] | None = None,
    ) -> None:
        """Requests of this kind meet the fault: the nth of them from now, some, or every one."""
        numbers = frozenset([nth] if isinstance(nth, int) else nth) if nth is not None else None
        with self._lock:
            self._rules.append(_Rule(kind, fault, numbers, key, match))

    def heal(self) -> None:
        """No more faults from the next request on."""
        with self._lock:
            self._rules.clear()

    def forget(self) -> None:
        """Forget what was asked so far."""
        with self._lock:
            self.requests.clear()

    def seen(self, kind: Kind | None = None, key: str | None = None) -> list[Seen]:
        """The requests so far, of one kind or all."""
        with self._lock:
            return [
                one for one in self.requests if kind in (None, one.kind) and key in (None, one.key)
            ]

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """While the block runs nobody listens, and connections that were open are gone."""
        self._stop_listening()
        try:
            yield
        finally:
            self._listen()

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._run(lambda: self._accept(listener))

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
            listener.close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="fault-proxy", daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
            self._run(lambda connection=connection: self._serve(connection))  # type: ignore[misc]  # bound now

    def _serve(self, connection: socket.socket) -> None:
        # A client is told of a failure by the end of its connection.
        broken = (_Broken, OSError, http.client.HTTPException)
        try:
            with contextlib.suppress(*broken), connection.makefile("rb") as lines:
                while request := _read_request(lines):
                    self._answer(connection, request)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _answer(self, client: socket.socket, request: _Request) -> None:
        seen, fault = self._take(request)
        match fault:
            case Says():
                self._say(client, seen, fault)
                return
            case Reset(asks_first=False, in_body=False):
                _reset(client)
            case Stall(in_body=False, asks_first=False):
                self._stall(fault.seconds)
            case After():
                fault.act()
            case _:
                pass
        if seen.kind is Kind.TOKEN:
            self._give_token(client, seen)
            return
        answer, body = self._forward(request)
        match fault:
            case Reset(asks_first=True, in_body=False):
                _reset(client)
            case Stall(asks_first=True, in_body=False):
                self._stall(fault.seconds)
            case _:
                pass
        seen.status = answer.status
        self._send(client, request, answer, body, fault)

    def _take(self, request: _Request) -> tuple[Seen, Fault | None]:
        seen = _look(request)
        with self._lock:
            self.requests.append(seen)
            rule = next((rule for rule in self._rules if rule.takes(seen)), None)
        seen.fault = rule.fault if rule else None
        return seen, seen.fault

    def _stall(self, seconds: float) -> None:
        if self.closing.wait(seconds):
            raise _Broken

    def _say(self, client: socket.socket, seen: Seen, says: Says) -> None:
        seen.status = says.status
        body = f"<Error><Code>{says.code}</Code></Error>".encode()
        headers = {"x-ms-error-code": says.code, "Content-Type": "application/xml"}
        if says.retry_after is not None:
            headers["Retry-After"] = str(says.retry_after)
        if seen.method == "HEAD":
            body = b""
        client.sendall(_head(says.status, headers, len(body)) + body)

    def _give_token(self, client: socket.socket, seen: Seen) -> None:
        with self._lock:
            token = f"token-{len(self.tokens) + 1}"
            self.tokens.append(token)
        seen.status = 200
        answer = {
            "access_token": token,
            "expires_on": str(int(time.time()) + self.token_seconds),
            "resource": "https://storage.azure.com",
            "token_type": "Bearer",
        }
        body = json.dumps(answer).encode()
        client.sendall(_head(200, {"Content-Type": "application/json"}, len(body)) + body)

    def _forward(self, request: _Request) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP
        }
        target = request.target
        if self.signs is not None and headers.get("Authorization", "").startswith("Bearer "):
            del headers["Authorization"]
            target += ("&" if "?" in target else "?") + self.signs
        # A connection each: the service closes idle ones, and that must not look like a fault.
        netloc = urllib.parse.urlsplit(self.upstream).netloc
        with contextlib.closing(
            http.client.HTTPConnection(netloc, timeout=UPSTREAM_SECONDS)
        ) as upstream:
            upstream.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(request.body or None)
            answer = upstream.getresponse()
            return answer, answer.read()

    def _send(
        self,
        client: socket.socket,
        request: _Request,
        answer: http.client.HTTPResponse,
        body: bytes,
        fault: Fault | None,
    ) -> None:
        headers = {
            name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP
        }
        if isinstance(fault, Corrupted) and body:
            wrong = bytearray(body)
            wrong[fault.at] ^= 0x01
            body = bytes(wrong)
        length = len(body)
        if request.method == "HEAD":
            length = int(answer.headers.get("Content-Length", 0))
        half = len(body) // 2
        if isinstance(fault, Truncated):
            body, length = body[:half], half if fault.admits else length
        headers.pop("Content-Length", None)
        headers.pop("content-length", None)
        client.sendall(_head(answer.status, headers, length))
        match fault:
            case Stall(in_body=True):
                client.sendall(body[:half])
                self._stall(fault.seconds)
                client.sendall(body[half:])
            case Reset(in_body=True):
                client.sendall(body[:half])
                _reset(client)
            case Truncated():
                client.sendall(body)
                raise _Broken
            case Drip():
                for at in range(0, len(body), fault.piece_bytes):
                    client.sendall(body[at : at + fault.piece_bytes])
                    self._stall(fault.pause_seconds)
            case _:
                client.sendall(body)


def _read_request(lines: BinaryIO) -> _Request | None:
    first = lines.readline(65_536)
    if not first.endswith(b"\r\n"):
        return None
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers = http.client.parse_headers(lines)
    if headers.get("Expect", "").lower() == "100-continue":
        raise _Broken
    size = int(headers.get("Content-Length", 0))
    body = lines.read(size)
    if len(body) < size:
        return None
    return _Request(method, target, headers, body)


def _look(request: _Request) -> Seen:
    parts = urllib.parse.urlsplit(request.target)
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    # /account/container/key
    key = urllib.parse.unquote("/".join(parts.path.split("/")[3:]))
    asked = RANGE.match(request.headers.get("x-ms-range") or request.headers.get("Range") or "")
    token = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
    return Seen(
        kind=_kind(request, parts.path, query),
        method=request.method,
        key=key,
        range=(int(asked[1]), int(asked[2]) + 1 if asked[2] else None) if asked else None,
        at=time.monotonic(),
        token=token if token.startswith("token-") else None,
    )


_KINDS = {
    ("GET", "list"): Kind.LIST,
    ("GET", "blocklist"): Kind.GET_BLOCK_LIST,
    ("GET", None): Kind.GET,
    ("HEAD", None): Kind.HEAD,
    ("PUT", "block"): Kind.PUT_BLOCK,
    ("PUT", "blocklist"): Kind.PUT_BLOCK_LIST,
    ("PUT", None): Kind.PUT_BLOB,
    ("DELETE", None): Kind.DELETE,
}


def _kind(request: _Request, path: str, query: dict[str, str]) -> Kind:
    if path == TOKEN_PATH:
        return Kind.TOKEN
    kind = _KINDS.get((request.method, query.get("comp")), Kind.OTHER)
    if (query.get("restype") == "container") != (kind is Kind.LIST):
        return Kind.OTHER
    if kind is Kind.PUT_BLOB and "x-ms-copy-source" in request.headers:
        return Kind.COPY
    return kind


def _head(status: int, headers: dict[str, str], length: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise _Broken
