"""The documented subset of Azure's File service REST interface over the tree in memory.

Files take no conditional headers (Azure documents none for them), only ETags in answers.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import urllib.parse
import urllib.request
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tests.servers.files_auth import Call, Guard, Need, parse_query
from tests.servers.files_tree import (
    Copy,
    Entry,
    File,
    Folder,
    Refused,
    Share,
    SparseBytes,
    check_path,
    folded,
)

if TYPE_CHECKING:
    from tests.servers.files import FilesServer

LARGEST_RANGE = 4 * 1024 * 1024
CONTENT_HEADERS = {
    f"x-ms-{name}": name.title().replace("Md5", "MD5")
    for name in (
        "content-type",
        "content-encoding",
        "content-language",
        "cache-control",
        "content-md5",
        "content-disposition",
    )
}


@dataclass
class Answer:
    """What goes back."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Planned:
    """An answer the test ordered for the next requests that match."""

    answer: Answer
    matches: Callable[[Call], bool]


@dataclass
class Account:
    """The state of the account: its shares, and what tests ordered."""

    guard: Guard
    base_url: str
    shares: dict[str, Share] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    planned: deque[Planned] = field(default_factory=deque)
    # How many looks at a copied file say "pending" before one says "success".
    copies_stay_pending: int = 0

    def share(self, name: str) -> Share:
        if name not in self.shares:
            raise Refused(404, "ShareNotFound", "The specified share does not exist.")
        return self.shares[name]


Operation = Callable[[Account, Call, bytes], Answer]
OPERATIONS: dict[tuple[str, str, str], tuple[Need, Operation]] = {}


def operation(methods: str, kind: str, comp: str, need: Need) -> Callable[[Operation], Operation]:
    def enter(function: Operation) -> Operation:
        for method in methods.split():
            OPERATIONS[method, kind, comp] = need, function
        return function

    return enter


def respond(account: Account, call: Call, body: bytes) -> Answer:
    """Admit the call, then do what it asks."""
    kind = call.query.get("restype") or "file"
    comp = call.query.get("comp", "")
    if kind == "file" and "x-ms-copy-source" in call.headers:
        comp = "copy"
    found = OPERATIONS.get((call.method, kind, comp))
    if not found:
        account.guard.admit(call, Need("rwdlcu", "sco"))
        raise Refused(400, "UnsupportedQueryParameter", f"{call.method} {kind} {comp}")
    need, function = found
    account.guard.admit(call, need)
    with account.lock:
        for planned in account.planned:
            if planned.matches(call):
                account.planned.remove(planned)
                return planned.answer
        return function(account, call, body)


@operation("PUT", "share", "", Need("cw", "c", by_service_sas=False))
def create_share(account: Account, call: Call, body: bytes) -> Answer:
    name = call.place[0]
    if name in account.shares:
        raise Refused(409, "ShareAlreadyExists", "The specified share already exists.")
    account.shares[name] = Share(name)
    return Answer(201, stamps(account.shares[name].root))


@operation("GET HEAD", "share", "", Need("r", "c", by_service_sas=False))
def get_share_properties(account: Account, call: Call, body: bytes) -> Answer:
    root = account.share(call.place[0]).root
    return Answer(200, {**stamps(root), "x-ms-share-quota": "5120"})


@operation("DELETE", "share", "", Need("d", "c", by_service_sas=False))
def delete_share(account: Account, call: Call, body: bytes) -> Answer:
    account.share(call.place[0])
    del account.shares[call.place[0]]
    return Answer(202)


@operation("PUT", "directory", "", Need("cw", "o"))
def create_directory(account: Account, call: Call, body: bytes) -> Answer:
    folder = account.share(call.place[0]).make_folder(path_of(call))
    folder.metadata = metadata_of(call.headers)
    return Answer(201, stamps(folder))


@operation("GET HEAD", "directory", "", Need("r", "o"))
def get_directory_properties(account: Account, call: Call, body: bytes) -> Answer:
    folder = account.share(call.place[0]).folder(path_of(call))
    return Answer(200, {**stamps(folder), **metadata_headers(folder)})


@operation("PUT", "directory", "metadata", Need("w", "o"))
def set_directory_metadata(account: Account, call: Call, body: bytes) -> Answer:
    folder = account.share(call.place[0]).folder(path_of(call))
    folder.metadata, folder.etag = metadata_of(call.headers), Entry("").etag
    return Answer(200, stamps(folder))


@operation("DELETE", "directory", "", Need("d", "o"))
def delete_directory(account: Account, call: Call, body: bytes) -> Answer:
    account.share(call.place[0]).remove_folder(path_of(call))
    return Answer(202)


@operation("GET", "directory", "list", Need("l", "c"))
def list_directory(account: Account, call: Call, body: bytes) -> Answer:
    """Entries in the order of their names, files and folders mixed, a page at a time."""
    folder = account.share(call.place[0]).folder(path_of(call))
    prefix, marker = call.query.get("prefix", ""), call.query.get("marker", "")
    asked = int(call.query.get("maxresults", "5000"))
    if not 1 <= asked <= 5000:
        raise Refused(400, "OutOfRangeQueryParameterValue")
    names = sorted(n for n in folder.entries if n.startswith(folded(prefix)) and n >= marker)
    page, more = names[:asked], names[asked:]
    include = call.query.get("include", "").lower()
    entries = "".join(entry_xml(folder.entries[name], include) for name in page)
    text = (
        '<?xml version="1.0" encoding="utf-8"?><EnumerationResults '
        f'ServiceEndpoint="{account.base_url}/" ShareName="{call.place[0]}" '
        f'DirectoryPath="{escape("/".join(path_of(call)))}"><Prefix>{escape(prefix)}</Prefix>'
        f"<Marker>{escape(marker)}</Marker><MaxResults>{asked}</MaxResults>"
        f"<Entries>{entries}</Entries><NextMarker>{escape(more[0]) if more else ''}</NextMarker>"
        "</EnumerationResults>"
    )
    return Answer(200, {"Content-Type": "application/xml"}, text.encode())


@operation("PUT", "directory", "rename", Need("w", "o"))
def rename_directory(account: Account, call: Call, body: bytes) -> Answer:
    return rename(account, call, Folder)


@operation("PUT", "file", "rename", Need("w", "o"))
def rename_file(account: Account, call: Call, body: bytes) -> Answer:
    return rename(account, call, File)


@operation("PUT", "file", "", Need("cw", "o"))
def create_file(account: Account, call: Call, body: bytes) -> Answer:
    if call.headers.get("x-ms-type") != "file":
        raise Refused(400, "MissingRequiredHeader", "x-ms-type")
    path = path_of(call)
    made = File(
        path[-1],
        metadata=metadata_of(call.headers),
        data=SparseBytes(int(call.headers["x-ms-content-length"])),
        headers=content_headers(call.headers),
    )
    account.share(call.place[0]).put_file(path, made)
    return Answer(201, stamps(made))


@operation("PUT", "file", "range", Need("w", "o"))
def put_range(account: Account, call: Call, body: bytes) -> Answer:
    file = account.share(call.place[0]).file(path_of(call))
    start, stop = written_range(call.headers)
    if stop > file.data.size:
        raise Refused(416, "InvalidRange", "The range specified is invalid for this file.")
    if call.headers.get("x-ms-write") == "clear":
        file.data.clear(start, stop)
    else:
        if len(body) != stop - start or len(body) > LARGEST_RANGE:
            raise Refused(413, "RequestBodyTooLarge")
        declared = call.headers.get("content-md5")
        if declared and declared != md5_text(body):
            raise Refused(400, "Md5Mismatch", "The MD5 value specified did not match.")
        file.data.write(start, body)
    file.touch()
    return Answer(201, {**stamps(file), "Content-MD5": md5_text(body)})


@operation("GET", "file", "", Need("r", "o"))
def get_file(account: Account, call: Call, body: bytes) -> Answer:
    file = account.share(call.place[0]).file(path_of(call))
    headers = {**stamps(file), **file_headers(file), "Accept-Ranges": "bytes"}
    asked = call.headers.get("x-ms-range") or call.headers.get("range")
    if not asked:
        return Answer(200, headers, file.data.read(0, file.data.size))
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, stop = int(first), min(int(last) + 1 if last else file.data.size, file.data.size)
    if start >= file.data.size:
        raise Refused(416, "InvalidRange", "The range specified is invalid for this file.")
    data = file.data.read(start, stop)
    whole = headers.pop("Content-MD5", None)
    if whole:
        headers["x-ms-content-md5"] = whole
    if call.headers.get("x-ms-range-get-content-md5", "").lower() == "true":
        if len(data) > LARGEST_RANGE:
            raise Refused(400, "OutOfRangeInput")
        headers["Content-MD5"] = md5_text(data)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.data.size}"
    return Answer(206, headers, data)


@operation("HEAD", "file", "", Need("r", "o"))
def get_file_properties(account: Account, call: Call, body: bytes) -> Answer:
    file = account.share(call.place[0]).file(path_of(call))
    if file.copy:
        file.copy.looks_left -= 1
    length = {"Content-Length": str(file.data.size), "x-ms-type": "File"}
    return Answer(200, {**stamps(file), **file_headers(file), **length})


@operation("PUT", "file", "properties", Need("w", "o"))
def set_file_properties(account: Account, call: Call, body: bytes) -> Answer:
    file = account.share(call.place[0]).file(path_of(call))
    if "x-ms-content-length" in call.headers:
        file.data.resize(int(call.headers["x-ms-content-length"]))
    # As documented: content headers that are not sent are cleared.
    file.headers = content_headers(call.headers)
    file.touch()
    return Answer(200, stamps(file))


@operation("PUT", "file", "metadata", Need("w", "o"))
def set_file_metadata(account: Account, call: Call, body: bytes) -> Answer:
    file = account.share(call.place[0]).file(path_of(call))
    file.metadata, file.etag = metadata_of(call.headers), Entry("").etag
    return Answer(200, stamps(file))


@operation("DELETE", "file", "", Need("d", "o"))
def delete_file(account: Account, call: Call, body: bytes) -> Answer:
    account.share(call.place[0]).remove_file(path_of(call))
    return Answer(202)


@operation("GET", "file", "rangelist", Need("r", "o"))
def list_ranges(account: Account, call: Call, body: bytes) -> Answer:
    file = account.share(call.place[0]).file(path_of(call))
    start, stop = 0, file.data.size
    asked = call.headers.get("x-ms-range") or call.headers.get("range")
    if asked:
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(stop, int(last) + 1 if last else stop)
    ranges = "".join(
        f"<Range><Start>{a}</Start><End>{b - 1}</End></Range>"
        for a, b in file.data.ranges(start, stop)
    )
    text = f'<?xml version="1.0" encoding="utf-8"?><Ranges>{ranges}</Ranges>'
    headers = {"Content-Type": "application/xml", "x-ms-content-length": str(file.data.size)}
    return Answer(200, {**stamps(file), **headers}, text.encode())


@operation("PUT", "file", "copy", Need("cw", "o"))
def copy_file(account: Account, call: Call, body: bytes) -> Answer:
    path, url = path_of(call), call.headers["x-ms-copy-source"]
    source = read_source(account, call, url)
    data = source.data.read(0, source.data.size)
    made = File(path[-1], headers=source.headers, data=SparseBytes(len(data)))
    # As documented: without metadata of its own, the copy takes the source's.
    made.metadata = metadata_of(call.headers) or dict(source.metadata)
    made.data.write(0, data)
    made.copy = Copy(str(uuid.uuid4()), url, len(data), account.copies_stay_pending + 1)
    account.share(call.place[0]).put_file(path, made)
    made.copy.looks_left -= 1
    return Answer(202, {**stamps(made), **copy_headers(made.copy)})


def rename(account: Account, call: Call, kind: type[Entry]) -> Answer:
    """Both names must be granted; a signature reaches the source only in the source's address."""
    url = call.headers["x-ms-file-rename-source"]
    place = place_of(account, url)
    sas = parse_query(urllib.parse.urlsplit(url).query)
    if "sig" in sas:
        account.guard.judge_sas(sas, place, Need("wd", "o"))
    elif "sig" in call.query:
        raise Refused(403, "AuthenticationFailed", detail="the source carries no signature")
    if place[0] != call.place[0]:
        raise Refused(400, "InvalidInput", "source and target are in different shares")
    share = account.share(call.place[0])
    source = trimmed(place[1:], call.headers.get("x-ms-source-allow-trailing-dot"))
    if not isinstance(share.find(source), kind):
        raise Refused(409, "ResourceTypeMismatch")
    replace = call.headers.get("x-ms-file-rename-replace-if-exists", "").lower() == "true"
    moved = share.rename(source, path_of(call), replace=replace)
    return Answer(200, stamps(moved))


def read_source(account: Account, call: Call, url: str) -> File:
    """The bytes behind a copy's source address: a file of ours, or whatever answers there."""
    if not url.startswith(account.base_url + "/"):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                body = answer.read()
        except OSError as error:
            raise Refused(404, "CannotVerifyCopySource", str(error)) from error
        fetched = File("", data=SparseBytes(len(body)))
        fetched.data.write(0, body)
        return fetched
    place = place_of(account, url)
    sas = parse_query(urllib.parse.urlsplit(url).query)
    if "sig" in sas:
        account.guard.judge_sas(sas, place, Need("r", "o"))
    elif "sig" in call.query:
        raise Refused(403, "CannotVerifyCopySource", "the source carries no signature")
    path = trimmed(place[1:], call.headers.get("x-ms-source-allow-trailing-dot"))
    return account.share(place[0]).file(path)


def place_of(account: Account, url: str) -> list[str]:
    path = urllib.parse.urlsplit(url.removeprefix(account.base_url)).path
    return urllib.parse.unquote(path).strip("/").split("/")


def path_of(call: Call) -> list[str]:
    path = trimmed(call.place[1:], call.headers.get("x-ms-allow-trailing-dot"))
    check_path(path)
    return path


def trimmed(path: Sequence[str], allow_trailing_dot: str | None) -> list[str]:
    """Without its header a request loses the dots at the ends of names."""
    if (allow_trailing_dot or "").lower() == "true":
        return list(path)
    return [name.rstrip(".") for name in path]


def written_range(headers: Mapping[str, str]) -> tuple[int, int]:
    text = headers.get("x-ms-range") or headers.get("range", "")
    first, dash, last = text.removeprefix("bytes=").partition("-")
    if not (dash and first and last):
        raise Refused(400, "InvalidHeaderValue", "x-ms-range")
    return int(first), int(last) + 1


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Metadata in the capitals it was sent with; `headers` keeps them beside the lower names."""
    original = headers.get(":names", "").split("\n")
    return {
        name[len("x-ms-meta-") :]: headers[name.lower()]
        for name in original
        if name.lower().startswith("x-ms-meta-")
    }


def metadata_headers(entry: Entry) -> dict[str, str]:
    return {f"x-ms-meta-{name}": value for name, value in entry.metadata.items()}


def content_headers(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {ours: headers[sent] for sent, ours in CONTENT_HEADERS.items() if sent in headers}
    return {"Content-Type": "application/octet-stream", **kept}


def file_headers(file: File) -> dict[str, str]:
    copied = copy_headers(file.copy) if file.copy else {}
    return {**file.headers, **metadata_headers(file), **copied}


def copy_headers(copy: Copy) -> dict[str, str]:
    done = copy.size if copy.status == "success" else copy.size // 2
    return {
        "x-ms-copy-id": copy.id,
        "x-ms-copy-status": copy.status,
        "x-ms-copy-source": copy.source.partition("?")[0],
        "x-ms-copy-progress": f"{done}/{copy.size}",
    }


def stamps(entry: Entry) -> dict[str, str]:
    return {
        "ETag": entry.etag,
        "Last-Modified": formatdate(entry.written_ns / 1e9, usegmt=True),
        "x-ms-file-last-write-time": file_time(entry.written_ns),
        "x-ms-file-creation-time": file_time(entry.created_ns),
        "x-ms-file-change-time": file_time(entry.written_ns),
        "x-ms-file-attributes": "Directory" if isinstance(entry, Folder) else "Archive",
        "x-ms-server-encrypted": "true",
    }


def file_time(ns: int) -> str:
    """A moment with the seven digits of Windows."""
    whole, rest = divmod(ns // 100, 10_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:07d}Z"


def entry_xml(entry: Entry, include: str) -> str:
    tag = "File" if isinstance(entry, File) else "Directory"
    facts = f"<Content-Length>{entry.data.size}</Content-Length>" if isinstance(entry, File) else ""
    if "timestamps" in include:
        facts += (
            f"<CreationTime>{file_time(entry.created_ns)}</CreationTime>"
            f"<LastWriteTime>{file_time(entry.written_ns)}</LastWriteTime>"
            f"<Last-Modified>{formatdate(entry.written_ns / 1e9, usegmt=True)}</Last-Modified>"
        )
    if "etag" in include:
        facts += f"<Etag>{escape(entry.etag)}</Etag>"
    return f"<{tag}><Name>{escape(entry.name)}</Name><Properties>{facts}</Properties></{tag}>"


def md5_text(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def error_answer(refused: Refused) -> Answer:
    detail = (
        f"<AuthenticationErrorDetail>{escape(refused.detail)}</AuthenticationErrorDetail>"
        if refused.detail
        else ""
    )
    text = (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{refused.code}</Code>'
        f"<Message>{escape(refused.sentence)}\nRequestId:{uuid.uuid4()}\n"
        f"Time:{datetime.now(UTC).isoformat()}</Message>{detail}</Error>"
    )
    headers = {"x-ms-error-code": refused.code, "Content-Type": "application/xml"}
    return Answer(refused.status, headers, text.encode())


class Handler(BaseHTTPRequestHandler):
    """One connection; every request is answered whole, in one write."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: FilesServer

    def do_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = respond(self.server.state, self.call(), body)
        except Refused as refused:
            answer = error_answer(refused)
        self.server.note(self.command, self.path, answer.status)
        self.reply(answer)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = do_request  # noqa: N815 - the library's names

    def call(self) -> Call:
        raw = urllib.parse.urlsplit(self.path)
        # The client writes slashes inside folder names as %2F, and the service takes them.
        parts = urllib.parse.unquote(raw.path).split("/")[1:]
        if not parts or parts[0] != self.server.state.guard.account:
            raise Refused(400, "InvalidUri", "the address does not start with the account")
        place = parts[1:-1] if parts[-1] == "" else parts[1:]
        headers = {name.lower(): value for name, value in self.headers.items()}
        headers[":names"] = "\n".join(self.headers.keys())
        return Call(self.command, raw.path, parse_query(raw.query), headers, place)

    def reply(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"x-ms-version": "2025-05-05", "x-ms-request-id": str(uuid.uuid4())}
        if self.command != "HEAD" or "Content-Length" not in answer.headers:
            headers["Content-Length"] = str(len(answer.body))
        for name, value in {**answer.headers, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass
