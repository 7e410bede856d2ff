"""A server of the WebHDFS dialect that Azure Data Lake Storage Gen1 spoke, in memory.

It checks the bearer token of every request, pages listings by `listAfter` and `listSize`, and
lets a test order the failures a real service has.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import pytest

from datastores.credentials.kinds import Token
from datastores.secret import Secret
from tests.servers.files_auth import parse_query
from tests.servers.files_listener import Listener

ROOT = "/webhdfs/v1"


class Refused(Exception):
    """An answer with a `RemoteException`."""

    def __init__(self, status: int, exception: str, sentence: str = "") -> None:
        self.status, self.exception = status, exception
        self.sentence = sentence or exception
        super().__init__(f"{status} {exception}")


@dataclass
class Node:
    """A file, or a folder when it has no bytes."""

    data: bytearray | None
    modified_ms: int


@dataclass
class Ask:
    """One request."""

    op: str
    path: str
    query: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    status: int = 200
    json: object = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Planned:
    answer: Answer
    matches: Callable[[Ask], bool]


class Tree:
    """Paths like `a/b` and what they hold; the root is ''."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {"": Node(None, 0)}
        self._last_ms = 0

    def now_ms(self) -> int:
        """The time, never the same twice: it is all that tells two versions apart."""
        self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000)
        return self._last_ms

    def find(self, path: str) -> Node:
        if path not in self.nodes:
            raise Refused(404, "FileNotFoundException", f"File /{path} does not exist.")
        return self.nodes[path]

    def file(self, path: str) -> bytearray:
        data = self.find(path).data
        if data is None:
            raise Refused(403, "FileNotFoundException", f"Path is a directory: /{path}")
        return data

    def make_folder(self, path: str) -> None:
        names = path.split("/") if path else []
        for depth in range(len(names)):
            above = "/".join(names[: depth + 1])
            if self.nodes.setdefault(above, Node(None, self.now_ms())).data is not None:
                raise Refused(403, "ParentNotDirectoryException", f"/{above} is a file")

    def children(self, path: str) -> list[str]:
        start = f"{path}/" if path else ""
        return sorted(
            other[len(start) :]
            for other in self.nodes
            if other and other.startswith(start) and "/" not in other[len(start) :]
        )

    def move(self, path: str, target: str) -> None:
        moved = {p: n for p, n in self.nodes.items() if p == path or p.startswith(path + "/")}
        for old in moved:
            del self.nodes[old]
        self.nodes |= {target + old[len(path) :]: node for old, node in moved.items()}


def create(tree: Tree, ask: Ask) -> Answer:
    there = tree.nodes.get(ask.path)
    if there and (there.data is None or ask.query.get("overwrite") != "true"):
        raise Refused(403, "FileAlreadyExistsException", f"/{ask.path} exists")
    tree.make_folder(ask.path.rpartition("/")[0])
    tree.nodes[ask.path] = Node(bytearray(ask.body), tree.now_ms())
    return Answer(201)


def append(tree: Tree, ask: Ask) -> Answer:
    data = tree.file(ask.path)
    if int(ask.query.get("offset", len(data))) != len(data):
        raise Refused(400, "BadOffsetException", f"the file ends at {len(data)}")
    data += ask.body
    tree.nodes[ask.path].modified_ms = tree.now_ms()
    return Answer()


def open_file(tree: Tree, ask: Ask) -> Answer:
    data, start = tree.file(ask.path), int(ask.query.get("offset", 0))
    if start > len(data):
        raise Refused(400, "IllegalArgumentException", "offset is past the end")
    length = int(ask.query.get("length", len(data)))
    return Answer(body=bytes(data[start : start + length]))


def status_of(name: str, node: Node) -> dict[str, object]:
    return {
        "pathSuffix": name,
        "type": "DIRECTORY" if node.data is None else "FILE",
        "length": len(node.data or b""),
        "modificationTime": node.modified_ms,
        "accessTime": node.modified_ms,
        "blockSize": 0 if node.data is None else 268435456,
        "replication": 1,
        "permission": "770",
    }


def get_status(tree: Tree, ask: Ask) -> Answer:
    return Answer(json={"FileStatus": status_of("", tree.find(ask.path))})


def list_status(tree: Tree, ask: Ask) -> Answer:
    node = tree.find(ask.path)
    if node.data is not None:
        return Answer(json={"FileStatuses": {"FileStatus": [status_of("", node)]}})
    after = ask.query.get("listAfter", "")
    names = [name for name in tree.children(ask.path) if name > after]
    page = names[: int(ask.query.get("listSize", 4000))]
    start = f"{ask.path}/" if ask.path else ""
    found = [status_of(name, tree.nodes[start + name]) for name in page]
    return Answer(json={"FileStatuses": {"FileStatus": found}})


def mkdirs(tree: Tree, ask: Ask) -> Answer:
    tree.make_folder(ask.path)
    return Answer(json={"boolean": True})


def rename(tree: Tree, ask: Ask) -> Answer:
    """Without OVERWRITE a taken name answers false, as does a missing folder."""
    node, target = tree.find(ask.path), ask.query["destination"].strip("/")
    there = tree.nodes.get(target)
    above = tree.nodes.get(target.rpartition("/")[0])
    if above is None or above.data is not None or target.startswith(ask.path + "/"):
        return Answer(json={"boolean": False})
    if there is not None and there is not node:
        if ask.query.get("renameoptions") != "OVERWRITE":
            return Answer(json={"boolean": False})
        if there.data is None or node.data is None:
            raise Refused(403, "FileAlreadyExistsException", f"/{target} is a directory")
    tree.move(ask.path, target)
    return Answer(json={"boolean": True})


def delete(tree: Tree, ask: Ask) -> Answer:
    if ask.path not in tree.nodes:
        return Answer(json={"boolean": False})
    below = [path for path in tree.nodes if path.startswith(ask.path + "/")]
    if below and ask.query.get("recursive") != "true":
        raise Refused(403, "PathIsNotEmptyDirectoryException", f"/{ask.path} is non empty")
    for path in [ask.path, *below]:
        del tree.nodes[path]
    return Answer(json={"boolean": True})


OPERATIONS: dict[tuple[str, str], Callable[[Tree, Ask], Answer]] = {
    ("PUT", "CREATE"): create,
    ("POST", "APPEND"): append,
    ("GET", "OPEN"): open_file,
    ("GET", "GETFILESTATUS"): get_status,
    ("GET", "LISTSTATUS"): list_status,
    ("PUT", "MKDIRS"): mkdirs,
    ("PUT", "RENAME"): rename,
    ("DELETE", "DELETE"): delete,
}


class Gen1Server(Listener):
    """A running store; each folder a test asks for is a store of its own."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.lock = threading.RLock()
        self.planned: deque[Planned] = deque()
        self.seen: list[tuple[str, str, int]] = []
        self._trees: dict[str, Tree] = {}
        self._tokens: dict[str, float] = {}
        self._numbers = itertools.count(1)

    def store(self) -> str:
        """The address of a fresh, empty store."""
        name = f"store{next(self._numbers)}"
        self._trees[name] = Tree()
        return f"{self.address}/{name}"

    def token(self, lifetime_seconds: float = 3600) -> Token:
        """A bearer token that this server accepts so long."""
        value = f"bearer-of-the-lake-{next(self._numbers)}-{time.time_ns()}"
        expires_at = time.time() + lifetime_seconds
        self._tokens[value] = expires_at
        return Token(token=Secret(value), expires_at=expires_at)

    def expire(self, token: Token) -> None:
        """Stop accepting a token, whatever it says of itself."""
        self._tokens[token.token.reveal()] = 0

    def names(self, url: str) -> list[str]:
        """Every path of a store, folders with a slash."""
        with self.lock:
            nodes = self._trees[url.rpartition("/")[2]].nodes
            return sorted(p + ("/" if n.data is None else "") for p, n in nodes.items() if p)

    def fail_next(
        self,
        status: int,
        exception: str,
        *,
        times: int = 1,
        headers: dict[str, str] | None = None,
        when: Callable[[Ask], bool] = lambda _ask: True,
    ) -> None:
        """Answer the next matching requests with this error instead of obeying them."""
        answer = refusal(Refused(status, exception))
        answer.headers = headers or {}
        self.answer_next(answer, times=times, when=when)

    def answer_next(self, answer: Answer, *, times: int, when: Callable[[Ask], bool]) -> None:
        """Give this answer to the next matching requests."""
        self.planned.extend([Planned(answer, when)] * times)

    def respond(self, method: str, target: str, authorization: str, body: bytes) -> Answer:
        self._admit(authorization)
        raw = urllib.parse.urlsplit(target)
        name, _, path = raw.path.lstrip("/").partition(ROOT)
        query = parse_query(raw.query)
        ask = Ask(query.get("op", ""), urllib.parse.unquote(path).strip("/"), query, body)
        if (method, ask.op) not in OPERATIONS:
            raise Refused(400, "UnsupportedOperationException", f"{method} {ask.op}")
        with self.lock:
            for planned in self.planned:
                if planned.matches(ask):
                    self.planned.remove(planned)
                    return planned.answer
            return OPERATIONS[method, ask.op](self._trees[name], ask)

    def _admit(self, authorization: str) -> None:
        token = authorization.removeprefix("Bearer ")
        if token not in self._tokens:
            raise Refused(401, "AuthenticationFailedException", "The access token is invalid.")
        if self._tokens[token] <= time.time():
            raise Refused(401, "ExpiredAuthenticationTokenException", "The token has expired.")


def refusal(refused: Refused) -> Answer:
    facts = {
        "exception": refused.exception,
        "message": refused.sentence,
        "javaClassName": f"java.io.{refused.exception}",
    }
    return Answer(refused.status, {"RemoteException": facts})


class Handler(BaseHTTPRequestHandler):
    """One connection; every request is answered whole, in one write."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Gen1Server

    def do_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proof = self.headers.get("Authorization", "")
        try:
            answer = self.server.respond(self.command, self.path, proof, body)
        except Refused as refused:
            answer = refusal(refused)
        self.server.seen.append((self.command, self.path, answer.status))
        payload = answer.body if answer.json is None else json.dumps(answer.json).encode()
        kind = "application/octet-stream" if answer.json is None else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(payload)), **answer.headers}
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)
        # A planned answer may promise more bytes than it has.
        self.close_connection = int(headers["Content-Length"]) != len(payload)

    do_GET = do_PUT = do_POST = do_DELETE = do_request  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture(scope="session")
def gen1_server() -> Iterator[Gen1Server]:
    """A Gen1 service for the whole session; tests take a store of their own."""
    with Gen1Server() as server:
        yield server
