"""A blob store against a service that misbehaves in ways Azurite never does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from datastores.credentials.kinds import Anonymous
from datastores.definitions.azure_storage import BlobContainer
from datastores.errors import (
    CredentialMissing,
    NotFound,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from datastores.names import DatastoreName
from datastores.storage.blob.blocks import BlobStaging
from datastores.storage.blob.copies import BlobCopying
from datastores.storage.blob.folders import BlobFolders
from datastores.storage.blob.listing import raw_pages
from datastores.storage.blob.place import place_of
from datastores.storage.blob.store import BlobStore, open_blob
from datastores.storage.blob.wire import Wire
from datastores.storage.contract import ObjectInfo, Page, Patience, Store
from datastores.storage.retrying import RetryingStore
from tests.registry.processes import forked

SHORT = Patience(connect_seconds=1.0, read_seconds=1.0)
MODIFIED = "Sat, 21 Nov 2026 05:00:00 GMT"
MODIFIED_NS = 1_795_237_200 * 1_000_000_000


class Service:
    """An HTTP server whose answers a test writes, one function for all requests."""

    def __init__(self) -> None:
        self.answer: Callable[[Request], None] = lambda request: request.say(501)
        self.asked: list[str] = []
        # Set when the test is over, so that no answer waits longer than that.
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self._server.daemon_threads = True
        self._server.service = self  # type: ignore[attr-defined] # how handlers find it
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/acme"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Request(BaseHTTPRequestHandler):
    """One request, and ways to answer it."""

    protocol_version = "HTTP/1.1"

    @property
    def service(self) -> Service:
        return self.server.service  # type: ignore[attr-defined,no-any-return] # see Service

    @property
    def query(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A complete answer."""
        self.promise(status, len(body), **headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def promise(self, status: int, length: int, **headers: str) -> None:
        """The head of an answer."""
        self.send_response(status)
        fields = {"ETag": '"0x1"', "Last-Modified": MODIFIED, "Content-Length": str(length)}
        for name, value in (fields | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.flush()

    def _serve(self) -> None:
        self.service.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.service.answer(self)

    do_GET = do_HEAD = do_PUT = do_DELETE = _serve  # noqa: N815 - names the server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited name
        """Nothing: tests are quiet."""


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    service.start()
    yield service
    service.stop()


def definition(service: Service) -> BlobContainer:
    return BlobContainer(DatastoreName("pictures"), "images", "acme", service.endpoint)


@pytest.fixture
def store(service: Service) -> Iterator[Store]:
    store = open_blob(definition(service), Anonymous(), SHORT)
    yield store
    store.close()


@pytest.fixture(params=["direct", "proxied"])
def either(
    service: Service, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """A store with sockets of its own, and one behind a proxy, which is the service itself."""
    if request.param == "proxied":
        name_proxy(service, monkeypatch)
    with store_with(service, None) as store:
        yield store


def name_proxy(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a machine whose way out is the service."""
    address = urllib.parse.urlsplit(service.endpoint)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://{address.netloc}")


def delivered(store: Store, key: str) -> int:
    with store.read(key) as stream:
        return sum(len(memoryview(piece)) for piece in stream)


def test_body_that_ends_early(service: Service, either: Store) -> None:
    """A body shorter than its promised length raises, whichever client reads it."""

    def cut_short(request: Request) -> None:
        request.promise(200, 500_000)
        request.wfile.write(b"x" * 300_000)
        request.close_connection = True

    service.answer = cut_short

    with pytest.raises(Unavailable) as caught:
        delivered(either, "a")

    assert (caught.value.store, caught.value.key) == ("pictures", "a")


def test_range_that_ends_early(service: Service, either: Store) -> None:
    """A range shorter than its promised length raises, whichever client reads it."""

    def cut_short(request: Request) -> None:
        request.promise(206, 400, Content_Range="bytes 100-499/900")
        request.wfile.write(b"x" * 300)
        request.close_connection = True

    service.answer = cut_short

    with pytest.raises(Unavailable), either.read("a", start=100, length=400) as stream:
        list(stream)


def test_body_that_stalls(service: Service, either: Store) -> None:
    """A body that stops moving raises within the patience, whichever client reads it."""

    def stall(request: Request) -> None:
        request.promise(200, 500_000)
        request.wfile.write(b"x" * 100)
        request.wfile.flush()
        request.service.over.wait(30)
        request.close_connection = True

    service.answer = stall
    began = time.monotonic()

    with pytest.raises(Unavailable):
        delivered(either, "a")

    assert time.monotonic() - began < 10


@pytest.mark.parametrize("status", [429, 503])
def test_throttling(service: Service, either: Store, status: int) -> None:
    """A throttled request is temporary, is made once, and keeps the pause that was asked for."""
    service.answer = lambda request: request.say(
        status, Retry_After="7", x_ms_error_code="ServerBusy"
    )
    facts = []
    for act in (either.stat, either.read, lambda key: either.write(key, b"x"), either.delete):
        service.asked.clear()
        with pytest.raises(Unavailable) as caught:
            act("a")
        facts.append((caught.value.temporary, caught.value.retry_after_seconds, len(service.asked)))

    assert facts == [(True, 7.0, 1)] * 4


class Tokens:
    """Tokens that end at once: the service takes the newest and no other."""

    def __init__(self, lifetime_seconds: float) -> None:
        self.lifetime_seconds = lifetime_seconds
        self.count = 0

    @property
    def newest(self) -> str:
        return f"Bearer token-{self.count}"

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        self.count += 1
        return AccessToken(f"token-{self.count}", int(time.time() + self.lifetime_seconds))


@contextlib.contextmanager
def store_with(service: Service, tokens: Any) -> Iterator[BlobStore]:
    """A store with credentials of the test's own making."""
    place = place_of(definition(service), Anonymous())
    wire = Wire(place, lambda: tokens, SHORT)
    listers = ThreadPoolExecutor(2)
    staging = BlobStaging(wire)
    store = BlobStore(
        place,
        wire,
        listers,
        staging,
        BlobCopying(wire, staging, definition(service), Anonymous(), SHORT),
        BlobFolders(wire, listers, hierarchical=False),
    )
    try:
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("action", ["read", "stat"])
def test_tokens_are_renewed(service: Service, action: str) -> None:
    """A store outlives its token: each client asks for a new one when the old one ends."""
    tokens = Tokens(lifetime_seconds=0)

    def guard(request: Request) -> None:
        good = request.headers["Authorization"] == tokens.newest
        request.say(200 if good else 401, b"guarded" if good else b"")

    service.answer = guard
    with store_with(service, tokens) as store:
        got = [
            delivered(store, "a") if action == "read" else store.stat("a").size for _ in range(3)
        ]

    assert got == [7, 7, 7]
    assert tokens.count == 3


@pytest.mark.parametrize("action", ["read", "stat"])
def test_good_tokens_are_kept(service: Service, action: str) -> None:
    """A token that is good for an hour is asked for once."""
    tokens = Tokens(lifetime_seconds=3600)
    service.answer = lambda request: request.say(200, b"guarded")

    with store_with(service, tokens) as store:
        for _ in range(3):
            delivered(store, "a") if action == "read" else store.stat("a")

    assert tokens.count == 1


class NoTokens:
    """Nobody is logged in."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        raise CredentialMissing("pictures", "nobody is logged in; log in")


def test_refusal_of_a_token_comes_through(service: Service) -> None:
    """What a token provider raises reaches the caller as itself."""
    with store_with(service, NoTokens()) as store, pytest.raises(CredentialMissing) as caught:
        store.read("a")

    assert "nobody is logged in" in str(caught.value)


def test_answer_in_pieces(service: Service, store: Store) -> None:
    """A head that arrives byte by byte, in odd spelling, is understood."""

    def dribble(request: Request) -> None:
        head = f'HTTP/1.1 200 OK\r\netag:"0x9"\r\nLAST-MODIFIED: {MODIFIED} \r\n'
        for byte in f"{head}Content-length:3\r\n\r\nabc".encode():
            request.wfile.write(bytes([byte]))
            request.wfile.flush()

    service.answer = dribble

    with store.read("a") as stream:
        assert (stream.info, b"".join(map(bytes, stream))) == (
            ObjectInfo("a", 3, MODIFIED_NS, "0x9"),
            b"abc",
        )


def in_chunks(*chunks: bytes) -> Callable[[Request], None]:
    """An answer of unknown length, as the service gives it to a PUT."""

    def answer(request: Request) -> None:
        request.send_response(200 if request.command == "GET" else 201)
        request.send_header("ETag", '"0x1"')
        request.send_header("Last-Modified", MODIFIED)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for chunk in chunks:
            request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            request.wfile.flush()

    return answer


def test_object_of_unknown_length(service: Service, either: Store) -> None:
    """An object whose end nobody would notice is refused."""
    service.answer = in_chunks(b"abc", b"")

    with pytest.raises(Unavailable, match="without saying how long"):
        either.read("a")


@pytest.mark.parametrize("chunks", [(b"",), (b"x" * 70_000, b""), (b"a", b"bc", b"")])
def test_write_answered_in_chunks(
    service: Service, store: Store, chunks: tuple[bytes, ...]
) -> None:
    """What the service adds to its yes is read to the end, and the connection is used again."""
    ports: set[int] = set()
    answer = in_chunks(*chunks)

    def count(request: Request) -> None:
        ports.add(request.client_address[1])
        answer(request)

    service.answer = count

    assert [store.write("a", b"abc").version for _ in range(3)] == ["0x1"] * 3
    assert len(ports) == 1


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"3\r\nabcdef\r\n0\r\n\r\nmore", b"3\r\na"])
def test_chunks_that_are_none(service: Service, store: Store, chunk: bytes) -> None:
    """Chunks that do not fit their announcement are a temporary failure."""

    def babble(request: Request) -> None:
        in_chunks()(request)
        request.wfile.write(chunk)
        request.close_connection = True

    service.answer = babble

    with pytest.raises(Unavailable):
        store.write("a", b"abc")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nETag", b"SSH-2.0-x\r\n\r\n"])
def test_answer_that_is_none(service: Service, store: Store, said: bytes) -> None:
    """A connection that is closed early, or speaks something else, is a temporary failure."""

    def babble(request: Request) -> None:
        request.wfile.write(said)
        request.close_connection = True

    service.answer = babble

    with pytest.raises(Unavailable) as caught:
        store.read("a")

    assert caught.value.temporary


def test_connection_that_the_host_closed_meanwhile(service: Service, store: Store) -> None:
    """A connection that was closed while nobody used it costs nobody an error."""

    def once(request: Request) -> None:
        request.say(200, b"abc")
        request.close_connection = True
        request.connection.shutdown(socket.SHUT_RDWR)

    service.answer = once

    assert [delivered(store, "a") for _ in range(3)] == [3, 3, 3]
    assert store.write("a", b"abc").size == 3


def test_one_connection_serves_many_requests(service: Service, store: Store) -> None:
    """Requests that follow each other, refused ones among them, share a connection."""
    ports: set[int] = set()

    def answer(request: Request) -> None:
        ports.add(request.client_address[1])
        request.say(404 if request.path.endswith("missing") else 200, b"abc" * 100_000)

    service.answer = answer
    for key in ("a", "missing", "b", "c"):
        with contextlib.suppress(NotFound):
            delivered(store, key)
    store.write("d", b"1")

    assert len(ports) == 1


def test_stream_that_was_left_early(service: Service, store: Store) -> None:
    """What is left of a body that nobody wanted is not taken for the next answer."""
    service.answer = lambda request: request.say(200, request.path[-1:].encode() * 2_000_000)

    with store.read("a") as stream:
        next(iter(stream))
    with store.read("b") as stream:
        assert set(b"".join(map(bytes, stream))) == set(b"b")


def test_reading_through_a_proxy(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names a proxy, every request goes there."""
    name_proxy(service, monkeypatch)
    far = BlobContainer(DatastoreName("far"), "c", "acme", "http://acme.invalid/acme")
    service.answer = lambda request: request.say(200, b"abc")
    store = open_blob(far, Anonymous(), SHORT)

    got = delivered(store, "a"), store.write("b", b"abcd").size
    store.close()

    assert got == (3, 4)
    assert service.asked == ["http://acme.invalid/acme/c/a", "http://acme.invalid/acme/c/b"]


def taking_blocks(failing: set[str], sent: dict[str, int]) -> Callable[[Request], None]:
    """Answers to an upload in blocks; the first request of each of these kinds fails."""

    def answer(request: Request) -> None:
        block = request.query["comp"] == "block"
        name = str(request.headers["Content-Length"]) if block else "commit"
        sent[name] = sent.get(name, 0) + 1
        request.say(503 if name in failing and sent[name] == 1 else 201)

    return answer


MIB = 1024 * 1024


def test_block_of_a_large_body_is_sent_again(service: Service, store: Store) -> None:
    """A large body that comes once survives failures on its way: what failed is sent again."""
    sent: dict[str, int] = {}
    small, large = str(MIB), str(8 * MIB)
    service.answer = taking_blocks({small, "commit"}, sent)

    made = store.write("a", (b"x" * MIB for _ in range(9)))

    assert made.size == 9 * MIB
    assert sent == {large: 1, small: 2, "commit": 2}


def test_block_that_always_fails_is_given_up_once(service: Service) -> None:
    """When a block's attempts are used up, the whole body is not begun again."""
    patience = Patience(connect_seconds=1, read_seconds=1, attempts=2)
    plain = open_blob(definition(service), Anonymous(), patience)
    service.answer = lambda request: request.say(503)

    with pytest.raises(Unavailable):
        RetryingStore(plain, patience, jitter=lambda: 0.0).write("a", b"x" * 9 * MIB)

    plain.close()
    assert len(service.asked) == 2


def listed(*names: str, next_marker: str = "") -> bytes:
    """A page of a listing in the service's form."""
    blobs = "".join(
        f"<Blob><Name>{name}</Name><Properties><Last-Modified>{MODIFIED}</Last-Modified>"
        "<Etag>0x1</Etag><Content-Length>3</Content-Length><Content-MD5 /></Properties></Blob>"
        for name in names
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>'
        f"{blobs}</Blobs><NextMarker>{next_marker}</NextMarker></EnumerationResults>"
    ).encode()


PAGES = {
    "": listed("a", next_marker="m1"),
    "m1": listed("b", next_marker="m2"),
    "m2": listed("c"),
}


def page(*keys: str) -> Page:
    return Page([ObjectInfo(key, 3, MODIFIED_NS, "0x1") for key in keys])


def test_listing_is_lazy_and_one_page_ahead(service: Service, store: Store) -> None:
    """Nothing is asked before the first `next`; each page given sets off one request more."""
    arrived = {marker: threading.Event() for marker in PAGES}

    def answer(request: Request) -> None:
        marker = request.query.get("marker", "")
        arrived[marker].set()
        request.say(200, PAGES[marker])

    service.answer = answer
    pages = store.list()
    before = len(service.asked)

    first = next(pages)
    assert arrived["m1"].wait(10)
    after_first = len(service.asked)
    rest = list(pages)

    assert (before, after_first, len(service.asked)) == (0, 2, 3)
    assert [first, *rest] == [page("a"), page("b"), page("c")]


def test_first_page_does_not_wait_for_the_second(service: Service, store: Store) -> None:
    """The first page is in the reader's hands while the second is still unanswered."""
    release = threading.Event()

    def answer(request: Request) -> None:
        marker = request.query.get("marker", "")
        if marker:
            release.wait(30)
        request.say(200, PAGES[marker])

    service.answer = answer
    pages = store.list()

    first = next(pages)
    was_waiting = not release.is_set()
    release.set()

    assert (first, was_waiting) == (page("a"), True)
    assert list(pages) == [page("b"), page("c")]


def test_listing_goes_on_after_a_failure(service: Service, store: Store) -> None:
    """A `next` that failed may be repeated: no page is lost and none comes twice."""
    failures = iter([True, False])

    def answer(request: Request) -> None:
        marker = request.query.get("marker", "")
        if marker == "m1" and next(failures):
            request.say(503)
        else:
            request.say(200, PAGES[marker])

    service.answer = answer
    pages = store.list()
    got = [next(pages)]

    with pytest.raises(Unavailable):
        next(pages)
    got += pages

    assert got == [page("a"), page("b"), page("c")]


def test_listing_is_not_begun_again(service: Service, store: Store) -> None:
    """Retrying asks for the page that failed alone, not for those before it."""
    failures = iter([True, False])
    asked: list[str] = []

    def answer(request: Request) -> None:
        marker = request.query.get("marker", "")
        asked.append(marker)
        if marker == "m2" and next(failures):
            request.say(503)
        else:
            request.say(200, PAGES[marker])

    service.answer = answer

    got = list(RetryingStore(store, SHORT, jitter=lambda: 0.0).list())

    assert got == [page("a"), page("b"), page("c")]
    assert asked == ["", "m1", "m2", "m2"]


def test_listing_of_a_parent_goes_on_in_its_child(service: Service, store: Store) -> None:
    """A forked child lists, and goes on with a listing whose next page its parent asked for."""
    service.answer = lambda request: request.say(200, PAGES[request.query.get("marker", "")])
    begun = store.list()
    first = next(begun)

    def go_on() -> None:
        assert list(begun) == [page("b"), page("c")]
        assert list(store.list()) == [page("a"), page("b"), page("c")]

    code = forked(go_on)

    assert (first, code) == (page("a"), 0)
    assert list(begun) == [page("b"), page("c")]


def test_listing_that_is_no_xml(service: Service, store: Store) -> None:
    """A page that a proxy damaged is unavailable, not an empty listing."""
    service.answer = lambda request: request.say(200, PAGES[""][:-30])

    with pytest.raises(Unavailable):
        next(store.list())


def test_pages_without_objects_are_no_end(service: Service, store: Store) -> None:
    """Azure may send an empty page with a continuation; the listing goes on."""
    pages = {"": listed(next_marker="m"), "m": listed("a")}
    service.answer = lambda request: request.say(200, pages[request.query.get("marker", "")])

    assert list(store.list()) == [page(), page("a")]


def test_raw_pages_of_a_closed_listing_are_not_fetched(service: Service) -> None:
    """A listing that is dropped after its first page asks for one page more at the most."""
    service.answer = lambda request: request.say(200, listed("a", next_marker="more"))
    wire = Wire(place_of(definition(service), Anonymous()), lambda: None, SHORT)

    with ThreadPoolExecutor(1) as executor:
        next(raw_pages(wire, executor, ""))
    wire.close()

    assert len(service.asked) == 2


SOURCE = ObjectInfo("x", 3, MODIFIED_NS, "0x5", metadata={"who": "me"})


def test_copy_that_takes_time_is_waited_for(service: Service, store: Store) -> None:
    """A copy the service makes in the background is given back when it is complete."""
    states = iter(["pending", "pending", "success"])

    def answer(request: Request) -> None:
        if request.command == "PUT":
            request.say(202, x_ms_copy_id="1", x_ms_copy_status="pending")
        else:
            request.say(200, b"abc", x_ms_copy_id="1", x_ms_copy_status=next(states))

    service.answer = answer
    assert store.copying

    made = store.copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)

    assert made == ObjectInfo("copy", 3, MODIFIED_NS, "0x1")


def test_copy_that_stands_still_is_given_up(service: Service, store: Store) -> None:
    """A copy without progress is aborted within the patience, and said to be temporary."""

    def answer(request: Request) -> None:
        status = 204 if "comp=copy" in request.path else 202 if request.command == "PUT" else 200
        request.say(status, x_ms_copy_id="1", x_ms_copy_status="pending", x_ms_copy_progress="1/3")

    service.answer = answer
    assert store.copying
    began = time.monotonic()

    with pytest.raises(Unavailable) as caught:
        store.copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)

    assert "stood still at 1/3" in str(caught.value)
    assert time.monotonic() - began < 5
    assert service.asked[-1] == "/acme/images/copy?comp=copy&copyid=1"


def copied_in_the_background(
    looks: list[tuple[int, dict[str, str]]], body: bytes = b"abc"
) -> Callable[[Request], None]:
    """Answers to one copy that takes time, and to the looks at it."""
    answers = iter(looks)
    begun = iter([True])

    def answer(request: Request) -> None:
        if request.command == "HEAD":
            status, headers = next(answers)
            request.say(status, body, **headers)
        elif next(begun, False):
            request.say(202, x_ms_copy_id="1", x_ms_copy_status="pending")
        else:
            request.say(409, x_ms_error_code="PendingCopyOperation")

    return answer


DONE = {"x_ms_copy_id": "1", "x_ms_copy_status": "success"}


def test_look_at_a_copy_that_fails_is_repeated(service: Service, store: Store) -> None:
    """A look at a copy under way that fails is repeated; the copy is not begun again."""
    service.answer = copied_in_the_background([(503, {}), (503, {}), (200, DONE)])
    copying = RetryingStore(store, SHORT, jitter=lambda: 0.0).copying
    assert copying

    made = copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)

    assert made == ObjectInfo("copy", 3, MODIFIED_NS, "0x1")
    assert len(service.asked) == 4


def test_looks_at_a_copy_are_bounded(service: Service, store: Store) -> None:
    """A copy that nobody can look at is given up within the patience."""
    service.answer = copied_in_the_background([(503, {})] * 1000)
    assert store.copying
    began = time.monotonic()

    with pytest.raises(Unavailable):
        store.copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)

    assert time.monotonic() - began < 5


def test_copy_onto_a_copy_under_way_is_temporary(service: Service, store: Store) -> None:
    """While another copy is under way the service refuses a second one, for the time being."""
    service.answer = lambda request: request.say(409, x_ms_error_code="PendingCopyOperation")
    assert store.copying

    with pytest.raises(Unavailable):
        store.copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)


@pytest.mark.parametrize("headers", [{}, {"x_ms_copy_id": "2", "x_ms_copy_status": "success"}])
def test_object_of_another_writer_is_not_the_copy(
    service: Service, store: Store, headers: dict[str, str]
) -> None:
    """What somebody else put in the copy's place is not given back as the copy."""
    service.answer = copied_in_the_background([(200, headers)])
    assert store.copying

    with pytest.raises(PreconditionFailed):
        store.copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)


def test_copy_in_one_step_that_was_replaced(service: Service, store: Store) -> None:
    """What replaced a copy between its end and the look at it is not given back as the copy."""
    headers = {"x_ms_copy_id": "1", "x_ms_copy_status": "success"}
    service.answer = lambda request: request.say(
        202 if request.command == "PUT" else 200, b"abc", ETag=f'"{request.command}"', **headers
    )
    assert store.copying

    with pytest.raises(PreconditionFailed):
        store.copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)


def test_copy_of_a_source_that_grew(service: Service, store: Store) -> None:
    """A copy of another size than expected says that the source changed, and is made once."""
    service.answer = copied_in_the_background([(200, DONE)], body=b"abcd")
    copying = RetryingStore(store, SHORT, jitter=lambda: 0.0).copying
    assert copying

    with pytest.raises(PreconditionFailed):
        copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)

    assert len(service.asked) == 2


def fetching_blocks(
    refuses_one_step: bool, sent: list[tuple[str | None, str | None, str | None]]
) -> Callable[[Request], None]:
    """Answers to a copy; what was asked for: one step or not, the range, the version."""

    def answer(request: Request) -> None:
        if request.query.get("comp") == "blocklist":
            request.say(201)
            return
        names = ("x-ms-requires-sync", "x-ms-source-range", "x-ms-source-if-match")
        asked = tuple(request.headers[name] for name in names)
        sent.append(asked)  # type: ignore[arg-type]  # three of them
        if asked[0] and refuses_one_step:
            request.say(409, x_ms_error_code="InvalidSourceBlobType")
        else:
            request.say(201)

    return answer


def test_other_blobs_than_block_blobs_are_copied_in_blocks(service: Service, store: Store) -> None:
    """What the service does not copy in one step it fetches in blocks, of the same version."""
    sent: list[tuple[str | None, str | None, str | None]] = []
    service.answer = fetching_blocks(True, sent)
    assert store.copying

    made = store.copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)

    assert made == ObjectInfo("copy", 3, MODIFIED_NS, "0x1")
    assert sent == [("true", None, '"0x5"'), (None, "bytes=0-2", '"0x5"')]


def test_large_copies_are_made_in_blocks(service: Service, store: Store) -> None:
    """Above 256 MiB the service fetches blocks of 100 MiB, and the name appears with the commit."""
    sent: list[tuple[str | None, str | None, str | None]] = []
    service.answer = fetching_blocks(False, sent)
    assert store.copying

    made = store.copying.copy_from(
        "https://elsewhere.invalid/x", "copy", replace(SOURCE, size=257 * MIB)
    )

    assert made.size == 257 * MIB
    assert sorted(str(one[1]) for one in sent) == [
        "bytes=0-104857599",
        "bytes=104857600-209715199",
        "bytes=209715200-269484031",
    ]
    assert "comp=blocklist" in service.asked[-1]


@pytest.mark.parametrize("status", [403, 404, 501])
def test_source_that_the_service_cannot_fetch(service: Service, store: Store, status: int) -> None:
    """A service that cannot fetch blocks says so, and nothing is committed."""
    service.answer = lambda request: request.say(status)
    assert store.copying

    with pytest.raises(Unsupported):
        store.copying.copy_from("https://elsewhere.invalid/x", "copy", SOURCE)

    assert not [path for path in service.asked if "blocklist" in path]
