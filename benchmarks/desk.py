"""The part of the endpoint that needs thought: listings, containers, block lists.

Run by the endpoint as a process behind the web server: `python -m benchmarks.desk SOCKET FOLDER`.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.listing import Query, parse_query, render_page
from benchmarks.sink import BlocksMissing, Sink, is_block_id
from benchmarks.workloads import files_below


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the web server hands it on: account and container are split off the path."""

    method: str
    container: str
    blob: str
    fields: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, XML and the service's code of an error."""

    status: HTTPStatus
    body: bytes = b""
    code: str = ""


class Desk:
    """Answers for one folder, which is either blobs that never change or a sink that fills up."""

    def __init__(self, sink: Sink, *, frozen: bool) -> None:
        self._sink = sink
        self._frozen = frozen
        self._page = functools.lru_cache(maxsize=None if frozen else 0)(self._render)

    def answer(self, request: Request) -> Answer:
        """What the service would say."""
        comp, restype = request.fields.get("comp", ""), request.fields.get("restype", "")
        match request.method, comp, restype:
            case "GET", "list", "container":
                return Answer(
                    HTTPStatus.OK, self._page(request.container, parse_query(request.fields))
                )
            case "PUT", "", "container":
                return _error(HTTPStatus.CONFLICT, "ContainerAlreadyExists")
            case "PUT", "blocklist", "":
                return self._commit(request)
            case "GET", "blocklist", "":
                return self._blocks(request)
            case ("GET" | "HEAD", "", "container") | ("GET" | "HEAD", "properties", _):
                return Answer(HTTPStatus.OK)
        return _error(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented")

    def _render(self, container: str, query: Query) -> bytes:
        names, sizes = self._index(container)
        return render_page(f"/{container}", container, names, sizes, query)

    def _index(self, container: str) -> tuple[list[str], dict[str, int]]:
        if not self._frozen:
            return self._walk(container)
        return self._known(container)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - one desk lives as long as its process
    def _known(self, container: str) -> tuple[list[str], dict[str, int]]:
        return self._walk(container)

    def _walk(self, container: str) -> tuple[list[str], dict[str, int]]:
        files = files_below(self._sink.blobs / container)
        sizes = {name: path.stat().st_size for name, path in files.items()}
        return sorted(sizes), sizes

    def _commit(self, request: Request) -> Answer:
        try:
            self._sink.commit(f"{request.container}/{request.blob}", request.body)
        except BlocksMissing:
            return _error(HTTPStatus.BAD_REQUEST, "InvalidBlockList")
        return Answer(HTTPStatus.CREATED)

    def _blocks(self, request: Request) -> Answer:
        staged = self._sink.staged(f"{request.container}/{request.blob}")
        if not staged:
            return _error(HTTPStatus.NOT_FOUND, "BlobNotFound")
        blocks = "".join(
            f"<Block><Name>{escape(name)}</Name><Size>{size}</Size></Block>"
            for name, size in staged
            if is_block_id(name)
        )
        return Answer(
            HTTPStatus.OK,
            b'<?xml version="1.0" encoding="utf-8"?><BlockList><CommittedBlocks/>'
            b"<UncommittedBlocks>" + blocks.encode() + b"</UncommittedBlocks></BlockList>",
        )


def _error(status: HTTPStatus, code: str) -> Answer:
    body = (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code>'
        f"<Message>{status.phrase}</Message></Error>"
    )
    return Answer(status, body.encode(), code)


async def _converse(desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until it is closed."""
    try:
        while request := await _read_request(reader):
            writer.write(_wire(desk.answer(request), with_body=request.method != "HEAD"))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        return  # the web server went away; there is nobody left to tell
    finally:
        writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    length = 0
    while (header := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = header.decode("latin-1").partition(":")
        if name.lower() == "content-length":
            length = int(value)
    body = await reader.readexactly(length)
    parts = urllib.parse.urlsplit(target)
    _, _account, container, *rest = [*parts.path.split("/", 3), "", ""][:4]
    fields = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    return Request(
        method,
        urllib.parse.unquote(container),
        urllib.parse.unquote("".join(rest)),
        fields,
        body,
    )


def _wire(answer: Answer, *, with_body: bool) -> bytes:
    head = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Length: {len(answer.body)}",
    ]
    if answer.body:
        head.append("Content-Type: application/xml")
    if answer.code:
        head.append(f"x-ms-error-code: {answer.code}")
    text = "\r\n".join([*head, "", ""]).encode()
    return text + answer.body if with_body else text


async def serve(socket: str, desk: Desk) -> None:
    """Answer until the endpoint says that it is over."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    talk = functools.partial(_converse, desk)
    server = await asyncio.start_unix_server(talk, socket, limit=1 << 20)
    async with server:
        await over.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Desk(Sink(Path(sys.argv[2])), frozen=sys.argv[3] == "frozen")))
