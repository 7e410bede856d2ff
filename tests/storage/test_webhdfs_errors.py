"""What people read when a Gen1 store says no, and what it never does."""

from __future__ import annotations

import itertools
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests.exceptions

from datastores.credentials.kinds import AccountKey, Anonymous, Credential, Token
from datastores.definitions.data_lake_gen1 import DataLakeGen1
from datastores.errors import (
    CredentialExpired,
    CredentialRefused,
    DatastoresError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from datastores.secret import Foreign, Secret
from datastores.storage.contract import Patience, Store
from datastores.storage.webhdfs import open_gen1
from datastores.storage.webhdfs.failures import OUTAGES, WRONG_REQUESTS, Answer, refused
from tests.contracts.store_contract import content, everything, keys
from tests.servers.webhdfs import Answer as Reply
from tests.servers.webhdfs import Ask, Gen1Server, Node
from tests.storage.test_webhdfs import definition_at

QUICK = Patience(connect_seconds=2, read_seconds=2, total_seconds=5)


@contextmanager
def opened(url: str, credential: Credential, patience: Patience = QUICK) -> Iterator[Store]:
    """A store that is closed again."""
    store = open_gen1(definition_at(url), credential, patience)
    yield store
    store.close()


def wants(op: str, path: str = "") -> Callable[[Ask], bool]:
    """Whether a request is this operation on a path that begins so."""
    return lambda ask: ask.op == op and ask.path.startswith(path)


@pytest.mark.parametrize("name", ["contoso", "contoso.azuredatalakestore.net"])
def test_retired_service_is_never_asked(name: str) -> None:
    """Every use of the real service says when it ended and what to do, without a connection."""
    asked: list[str] = []
    here = threading.get_ident()
    # Python's own record of what the process does; a hook cannot be taken out, only go quiet.
    listening = [True]
    sys.addaudithook(
        lambda event, _: (
            asked.append(event)
            if listening and threading.get_ident() == here and event.startswith("socket.")
            else None
        )
    )
    definition = DataLakeGen1(name=definition_at("http://x").name, store=name)
    store = open_gen1(definition, Anonymous(), Patience())
    told = []
    for act in (
        store.check,
        lambda: store.stat("a"),
        lambda: store.read("a"),
        lambda: store.write("a", b"x"),
        lambda: store.delete("a"),
        lambda: list(store.list()),
        lambda: list(store.list_folder()),
    ):
        with pytest.raises(Unsupported) as caught:
            act()
        told.append(caught.value.detail)
    store.close()
    listening.clear()

    want = (
        "Azure Data Lake Storage Gen1 was retired on 29 February 2024; "
        "register the migrated data with register_azure_data_lake_gen2"
    )
    assert told == [want] * 7
    assert asked == []


def test_expired_token_is_not_sent(gen1_server: Gen1Server) -> None:
    """A token past its own moment is an expired credential before any request."""
    url = gen1_server.store()
    token = gen1_server.token(lifetime_seconds=-1)
    before = len(gen1_server.seen)

    with opened(url, token) as store, pytest.raises(CredentialExpired) as caught:
        store.stat("a")

    assert len(gen1_server.seen) == before
    assert token.token.reveal() not in str(caught.value)


def test_token_expired_by_the_server(gen1_server: Gen1Server) -> None:
    """A token that the server stops accepting while the store is open has expired."""
    token = gen1_server.token()
    with opened(gen1_server.store(), token) as store:
        store.write("a", b"x")
        gen1_server.expire(token)

        for act in (lambda: store.stat("a"), lambda: store.write("a", b"y"), store.check):
            with pytest.raises(CredentialExpired, match="get a new token"):
                act()


def test_foreign_token(gen1_server: Gen1Server) -> None:
    """A token for something else is refused, and the sentence names the right audience."""
    token = Token(token=Secret("a-token-for-the-moon"), expires_at=time.time() + 60)

    with (
        opened(gen1_server.store(), token) as store,
        pytest.raises(CredentialRefused, match=r"https://datalake\.azure\.net/") as caught,
    ):
        store.check()

    assert "moon" not in str(caught.value)


def test_credentials_of_other_kinds(gen1_server: Gen1Server) -> None:
    """A key opens no Gen1 store, and a token does not travel in the clear."""
    with pytest.raises(CredentialRefused, match='of kind "AccountKey"'):
        open_gen1(definition_at(gen1_server.store()), AccountKey(Secret("a2V5a2V5")), QUICK)
    with pytest.raises(CredentialRefused, match="https only"):
        open_gen1(definition_at("http://lake.example/store"), gen1_server.token(), QUICK)


def test_unreachable_host(gen1_server: Gen1Server) -> None:
    """A host that cannot be reached is named within the connection's patience."""
    begun = time.monotonic()

    with (
        opened("http://127.0.0.1:1/store", gen1_server.token()) as store,
        pytest.raises(Unavailable, match=r"127\.0\.0\.1:1") as caught,
    ):
        store.stat("a")

    assert time.monotonic() - begun < 3
    assert (caught.value.store, caught.value.key, caught.value.temporary) == ("lake", "a", True)


def test_silent_host(gen1_server: Gen1Server) -> None:
    """A host that takes the connection and says nothing is given up within the patience."""
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/store"
        with (
            opened(url, gen1_server.token(), Patience(read_seconds=0.3)) as store,
            pytest.raises(Unavailable, match="did not answer in time"),
        ):
            store.stat("a")

    assert time.monotonic() - begun < 3


def test_throttling(gen1_server: Gen1Server) -> None:
    """A busy server is temporary, asked once, and its Retry-After reaches the caller."""
    url = gen1_server.store()
    with opened(url, gen1_server.token()) as store:
        store.write("a", b"x")
        gen1_server.fail_next(
            429, "ThrottledException", headers={"Retry-After": "7"}, when=wants("OPEN", "a")
        )

        with pytest.raises(Unavailable) as caught:
            content(store, "a")

        assert (caught.value.retry_after_seconds, content(store, "a")) == (7.0, b"x")


def test_failed_upload_leaves_nothing(gen1_server: Gen1Server) -> None:
    """When the server fails at any step of a write, the old file stays and no part is left."""
    url = gen1_server.store()
    with opened(url, gen1_server.token()) as store:
        store.write("d/a", b"old")
        for op in ("CREATE", "APPEND", "GETFILESTATUS", "RENAME"):
            gen1_server.fail_next(500, "RuntimeException", when=wants(op, "d/.~"))
            with pytest.raises(Unavailable):
                store.write("d/a", [b"n" * 5_000_000])

            assert (gen1_server.names(url), content(store, "d/a")) == (["d/", "d/a"], b"old")


def test_rest_of_an_upload_is_hidden(
    gen1_server: Gen1Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A part that cannot be removed is logged and not listed."""
    url = gen1_server.store()
    with opened(url, gen1_server.token()) as store:
        store.write("d/a", b"old")
        gen1_server.fail_next(500, "RuntimeException", when=wants("RENAME"))
        gen1_server.fail_next(500, "RuntimeException", when=wants("DELETE"))

        with pytest.raises(Unavailable), caplog.at_level(logging.WARNING):
            store.write("d/a", b"new")

        assert len(gen1_server.names(url)) == 3
        assert everything(store) == {"d/a": b"old"}
        assert ["left behind" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("promised", ["5", "10"], ids=["clean-end", "broken-connection"])
def test_short_body_is_not_an_end(gen1_server: Gen1Server, promised: str) -> None:
    """An answer with too few bytes raises instead of ending the read."""
    with opened(gen1_server.store(), gen1_server.token()) as store:
        store.write("a", b"0123456789")
        gen1_server.answer_next(
            Reply(body=b"01234", headers={"Content-Length": promised}),
            times=1,
            when=wants("OPEN", "a"),
        )

        with pytest.raises(Unavailable):
            content(store, "a")


def test_file_replaced_during_a_read(gen1_server: Gen1Server) -> None:
    """A read that a writer came into ends in an error and not in silence."""
    with opened(gen1_server.store(), gen1_server.token()) as store:
        store.write("a", b"1" * 9_000_000)

        with store.read("a") as stream:
            pieces = iter(stream)
            next(pieces)
            store.write("a", b"2" * 9_000_000)
            with pytest.raises(PreconditionFailed, match="replaced while it was read"):
                list(pieces)


def test_an_answer_that_is_no_json(gen1_server: Gen1Server) -> None:
    """A page of some proxy instead of an answer is an error about the address."""
    with opened(gen1_server.store(), gen1_server.token()) as store:
        gen1_server.answer_next(
            Reply(body=b"<html>Sign in</html>"), times=1, when=wants("GETFILESTATUS", "a")
        )

        with pytest.raises(Unavailable, match="check the address"):
            store.stat("a")


def test_redirections_get_no_token(gen1_server: Gen1Server) -> None:
    """A redirection is not followed, so the token stays with the host it is for."""
    with opened(gen1_server.store(), gen1_server.token()) as store:
        gen1_server.answer_next(
            Reply(307, headers={"Location": "http://127.0.0.1:1/thief"}),
            times=1,
            when=wants("OPEN", "a"),
        )
        store.write("a", b"x")

        with pytest.raises(Unsupported, match="answered 307"):
            content(store, "a")


def test_many_entries_are_paged(gen1_server: Gen1Server) -> None:
    """A folder of 2,500 files is listed whole and in order, a page per request."""
    url = gen1_server.store()
    want = [f"d/{n:04d}" for n in range(2500)]
    with opened(url, gen1_server.token()) as store:
        store.write("d/a", b"")
        tree = gen1_server._trees[url.rpartition("/")[2]]
        node = tree.nodes.pop("d/a")
        tree.nodes |= dict.fromkeys(want, node)
        before = len(gen1_server.seen)

        pages = store.list("d/")
        first = next(pages)
        asked_for_the_first = len(gen1_server.seen) - before
        got = [info.key for page in itertools.chain([first], pages) for info in page.objects]

    assert got == want
    assert (asked_for_the_first, len(gen1_server.seen) - before) == (1, 3)


def test_server_without_paging(gen1_server: Gen1Server) -> None:
    """A server that ignores `listAfter` is not listed for ever."""
    names = [f"{n:04d}" for n in range(1000)]
    facts = {"type": "FILE", "length": 0, "modificationTime": 1}
    page = {"FileStatuses": {"FileStatus": [{"pathSuffix": name, **facts} for name in names]}}
    with opened(gen1_server.store(), gen1_server.token()) as store:
        gen1_server.answer_next(Reply(json=page), times=2, when=wants("LISTSTATUS"))

        assert keys(store.list_folder()) == names


def test_writers_make_the_same_folders_at_once(gen1_server: Gen1Server) -> None:
    """16 writers into one deep folder that does not exist yet all succeed."""
    barrier = threading.Barrier(16)
    with opened(gen1_server.store(), gen1_server.token()) as store:

        def write(number: int) -> None:
            barrier.wait(timeout=30)
            store.write(f"a/b/c/{number:02d}", b"%02d" % number)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(write, range(16)))

        assert everything(store) == {f"a/b/c/{n:02d}": b"%02d" % n for n in range(16)}


def test_empty_folder_is_not_deleted_as_an_object(gen1_server: Gen1Server) -> None:
    """Deleting the name of an empty folder leaves the folder."""
    url = gen1_server.store()
    with opened(url, gen1_server.token()) as store:
        assert store.folders
        store.folders.make_folder("empty")

        store.delete("empty")

    assert gen1_server.names(url) == ["empty/"]


def test_stale_upload_does_not_hold_a_folder(gen1_server: Gen1Server) -> None:
    """What a writer left behind hours ago goes with its folder; an upload under way keeps it."""
    url, hidden = gen1_server.store(), ".~datastores-" + "0" * 32
    tree = gen1_server._trees[url.rpartition("/")[2]]
    with opened(url, gen1_server.token()) as store:
        assert store.folders
        for folder in ("old", "new"):
            store.folders.make_folder(folder)
            tree.nodes[f"{folder}/{hidden}"] = Node(bytearray(), tree.now_ms())
        tree.nodes[f"old/{hidden}"].modified_ms -= 2 * 3600 * 1000

        store.folders.remove_folder("old")
        with pytest.raises(Unsupported, match="not empty"):
            store.folders.remove_folder("new")

    assert gen1_server.names(url) == ["new/", f"new/{hidden}"]


def test_every_exception_of_requests_is_placed() -> None:
    """No class of requests' exceptions is left without one of ours."""
    walked = {
        name
        for name, kind in vars(requests.exceptions).items()
        if isinstance(kind, type) and issubclass(kind, requests.exceptions.RequestException)
    }

    assert walked - OUTAGES - WRONG_REQUESTS == set()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(403, "AccessControlException"), PermissionDenied),
        (Answer(403), PermissionDenied),
        (Answer(404), NotFound),
        (Answer(403, "ParentNotDirectoryException"), Unsupported),
        (Answer(400, "BadOffsetException"), PreconditionFailed),
        (Answer(401, "ExpiredAuthenticationTokenException"), CredentialExpired),
        (Answer(401), CredentialRefused),
        (Answer(503), Unavailable),
        (Answer(400, "IllegalArgumentException"), Unsupported),
    ],
)
def test_answers_have_their_errors(answer: Answer, kind: type[DatastoresError]) -> None:
    """Each answer of the server is the error by which a person knows what to do."""
    assert type(refused("lake", "host", "a", answer)) is kind


def test_no_variable_holds_the_token(gen1_server: Gen1Server) -> None:
    """When a request fails, no frame of this package on the way has the token in a variable."""
    token = gen1_server.token()
    url = gen1_server.store()
    gen1_server.fail_next(503, "RetriableException")
    with opened(url, token) as store, pytest.raises(Unavailable) as caught:
        store.stat("a")

    variables = [
        repr(value)
        for step in caught.traceback
        if "datastores" in str(step.path)
        for value in step.frame.f_locals.values()
    ]

    assert variables
    assert not [text for text in variables if token.token.reveal() in text]


def test_broken_body_brings_no_frames_of_a_library(gen1_server: Gen1Server) -> None:
    """The cause of a read that broke off is masked: no frame of the library comes with it."""
    url = gen1_server.store()
    with opened(url, gen1_server.token()) as store:
        store.write("a", b"x" * 100)
        gen1_server.answer_next(
            Reply(body=b"x" * 50, headers={"Content-Length": "100"}), times=1, when=wants("OPEN")
        )
        with pytest.raises(Unavailable) as caught:
            content(store, "a")

    assert isinstance(caught.value.__cause__, Foreign)
