"""What people read when a file share says no."""

from __future__ import annotations

import base64
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import azure.core.exceptions
import pytest
from azure.storage.fileshare import generate_share_sas

from datastores.credentials.kinds import AccountKey, Anonymous, Credential, Sas, Token
from datastores.definitions.azure_storage import FileShare
from datastores.errors import (
    AlreadyExists,
    CredentialExpired,
    CredentialMissing,
    CredentialRefused,
    DatastoresError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Unavailable,
    Unsupported,
)
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.contract import Patience, Store
from datastores.storage.file_share import open_file_share
from datastores.storage.file_share.failures import PLACED, Answer, refused
from datastores.storage.file_share.place import Place
from tests.contracts.store_contract import content, everything
from tests.servers.files import FilesServer
from tests.servers.files_auth import Call
from tests.servers.files_http import Answer as Reply
from tests.storage.test_file_share import definition_on, share_sas


@contextmanager
def opened(
    server: FilesServer,
    share: str,
    credential: Credential | None = None,
    patience: Patience | None = None,
) -> Iterator[Store]:
    """A store on the share; by default with the account's key."""
    store = open_file_share(
        definition_on(server, share),
        credential or AccountKey(server.key),
        patience or Patience(connect_seconds=2, read_seconds=2, total_seconds=5),
    )
    yield store
    store.close()


def wants(method: str, path: str, **query: str) -> Callable[[Call], bool]:
    """Whether a request is for this: the beginning of the place, some of the query."""
    return lambda call: (
        call.method == method
        and "/".join(call.place).startswith(path)
        and all(call.query.get(name) == value for name, value in query.items())
    )


def test_missing_share_tells_how_to_make_it(files_server: FilesServer) -> None:
    """Every use of a share that is not there names it and the option that makes it."""
    with opened(files_server, "no-such-share") as store:
        told = []
        for act in (
            store.check,
            lambda: store.stat("a"),
            lambda: content(store, "a"),
            lambda: store.write("a/b", b"x"),
            lambda: store.delete("a"),
            lambda: list(store.list()),
            lambda: list(store.list_folder("a")),
        ):
            with pytest.raises(NotFound) as caught:
                act()
            told.append((caught.value.key, caught.value.store, str(caught.value)))

    host = files_server.address.removeprefix("http://")
    want = (
        f'"images" does not exist: there is no file share "no-such-share" at {host}; '
        "check the name or register it with create_if_not_exists=True"
    )
    assert told == [(None, "images", want)] * 7


def test_check_makes_the_share(files_server: FilesServer) -> None:
    """`check(create=True)` makes a missing share once, and the store works."""
    with opened(files_server, "made-by-check") as store:
        store.check(create=True)
        store.check(create=True)
        store.write("a", b"x")

        assert everything(store) == {"a": b"x"}


def test_wrong_key(files_server: FilesServer) -> None:
    """A key of another account is refused in a sentence that names the account, and no key."""
    key = Secret(base64.b64encode(b"not the key of this account" * 2).decode())

    with (
        opened(files_server, files_server.share(), AccountKey(key)) as store,
        pytest.raises(CredentialRefused, match='belongs to account "devaccount"') as caught,
    ):
        store.stat("a")

    assert key.reveal() not in str(caught.value)
    assert caught.value.temporary is False


def test_key_that_is_no_key(files_server: FilesServer) -> None:
    """A key that is not base64 is refused, and not shown."""
    with (
        opened(files_server, files_server.share(), AccountKey(Secret("not%base64"))) as store,
        pytest.raises(CredentialRefused) as caught,
    ):
        store.stat("a")

    assert "not%base64" not in str(caught.value)


def test_sas_that_expires_under_way(files_server: FilesServer) -> None:
    """A signature that ends while the store is open is told apart from a wrong one."""
    share = files_server.share()
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    token = generate_share_sas(
        files_server.account, share, files_server.key.reveal(), permission="rcwdl", expiry=ends
    )
    with opened(files_server, share, Sas(Secret(token))) as store:
        store.write("a", b"x")
        # The moment is the service's clock; nothing announces it.
        time.sleep((ends - datetime.now(UTC)).total_seconds() + 0.05)
        told = []
        for act in (lambda: store.stat("a"), lambda: store.write("b", b"x"), store.check):
            with pytest.raises(CredentialExpired, match="create a new SAS") as caught:
                act()
            told.append(caught.value.expired)

    assert told == [ends] * 3


def test_wrong_sas(files_server: FilesServer) -> None:
    """A signature for another share is refused, not expired, and never shown."""
    mine, other = files_server.share(), files_server.share()
    sas = share_sas(files_server, other)

    with opened(files_server, mine, sas) as store:
        for act in (lambda: store.stat("a"), lambda: list(store.list())):
            with pytest.raises(CredentialRefused) as caught:
                act()
            assert "sig=" not in str(caught.value)


def test_sas_that_may_only_read(files_server: FilesServer) -> None:
    """A signature that lacks a permission says so, and that it is the permission."""
    share = files_server.share()
    with opened(files_server, share) as owner:
        owner.write("a", b"x")

    with opened(files_server, share, share_sas(files_server, share, "rl")) as store:
        held = everything(store)
        for act in (lambda: store.write("b", b"x"), lambda: store.delete("a")):
            with pytest.raises(PermissionDenied, match="lacks this permission"):
                act()

    assert held == {"a": b"x"}


def test_sas_that_may_not_list(files_server: FilesServer, caplog: pytest.LogCaptureFixture) -> None:
    """A signature without listing writes and replaces; that capitals go unchecked is said once."""
    share = files_server.share()
    with opened(files_server, share, share_sas(files_server, share, "rcwd")) as store:
        store.write("d/a", b"old")
        store.write("d/a", b"new")

        assert content(store, "d/a") == b"new"
    assert ["may not list" in record.getMessage() for record in caplog.records] == [True]


def test_nothing_to_prove_oneself_with(files_server: FilesServer) -> None:
    """A share cannot be opened without a credential."""
    definition = definition_on(files_server, files_server.share())

    with pytest.raises(CredentialMissing, match="never public"):
        open_file_share(definition, Anonymous(), Patience())


def test_token_over_plain_http(files_server: FilesServer) -> None:
    """A token is not sent where everybody on the way could read it."""
    token = Token(token=Secret("a-token-for-storage"), expires_at=time.time() + 60)

    with pytest.raises(CredentialRefused, match="https only"):
        open_file_share(definition_on(files_server, "share"), token, Patience())


def test_token_over_https() -> None:
    """A token is taken for an https address, and one past its moment is never sent."""
    definition = FileShare(
        name=DatastoreName.parse("images"),
        container="share",
        account="acc",
        endpoint="https://127.0.0.1:1",
    )
    value = Secret("a-token-for-storage")
    told: list[type[DatastoresError]] = []
    for lifetime in (60, -1):
        token = Token(token=value, expires_at=time.time() + lifetime)
        store = open_file_share(definition, token, Patience(connect_seconds=2))
        with pytest.raises(DatastoresError) as caught:
            store.stat("a")
        store.close()
        told.append(type(caught.value))

    assert told == [Unavailable, CredentialExpired]


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("http://127.0.0.1:1/devaccount", "127.0.0.1:1"),
        ("http://no.such.host.invalid/x", "invalid"),
    ],
    ids=["refused", "unknown"],
)
def test_unreachable_host(endpoint: str, why: str) -> None:
    """A host that cannot be reached is named within the connection's patience."""
    definition = FileShare(
        name=DatastoreName.parse("images"), container="share", account="acc", endpoint=endpoint
    )
    store = open_file_share(
        definition, AccountKey(Secret("a2V5a2V5")), Patience(connect_seconds=2, read_seconds=2)
    )
    begun = time.monotonic()

    with pytest.raises(Unavailable, match=why) as caught:
        store.stat("a")
    store.close()

    assert time.monotonic() - begun < 6
    assert (caught.value.store, caught.value.key, caught.value.temporary) == ("images", "a", True)


def test_silent_host() -> None:
    """A host that takes the connection and says nothing is given up within the patience."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        definition = FileShare(
            name=DatastoreName.parse("images"),
            container="share",
            account="acc",
            endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}/acc",
        )
        store = open_file_share(
            definition,
            AccountKey(Secret("a2V5a2V5")),
            Patience(connect_seconds=1, read_seconds=0.3),
        )
        begun = time.monotonic()

        with pytest.raises(Unavailable, match="did not answer in time"):
            store.stat("a")
        store.close()

    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("status", "code", "header", "pause"),
    [
        (503, "ServerBusy", "7", 7.0),
        (429, "TooManyRequests", "2", 2.0),
        (500, "OperationTimedOut", None, None),
    ],
)
def test_throttling(
    files_server: FilesServer, status: int, code: str, header: str | None, pause: float | None
) -> None:
    """A busy service is temporary, asked once, and its Retry-After reaches the caller."""
    share = files_server.share()
    headers = {"Retry-After": header} if header else {}
    with opened(files_server, share) as store:
        store.write("a", b"x")
        told = []
        for method, act in (
            ("HEAD", lambda: store.stat("a")),
            ("GET", lambda: content(store, "a")),
        ):
            files_server.fail_next(status, code, headers=headers, when=wants(method, f"{share}/a"))
            with pytest.raises(Unavailable) as caught:
                act()
            told.append((caught.value.retry_after_seconds, caught.value.key))
        assert content(store, "a") == b"x"

    assert told == [(pause, "a")] * 2


def test_retry_after_as_a_date() -> None:
    """A Retry-After that is a date is as many seconds as are left until then."""
    from email.utils import format_datetime

    from datastores.storage.file_share.failures import _pause

    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)

    assert 85 < (_pause(until) or 0) <= 90
    assert (_pause("nonsense"), _pause(None)) == (None, None)


def test_failed_upload_leaves_nothing(files_server: FilesServer) -> None:
    """When the service fails at any step of a write, the old file stays and no part is left."""
    share = files_server.share()
    with opened(files_server, share, patience=Patience(attempts=1)) as store:
        store.write("d/a", b"old")
        for comp in ("range", "rename"):
            files_server.fail_next(500, "InternalError", when=wants("PUT", f"{share}/d", comp=comp))
            with pytest.raises(Unavailable):
                store.write("d/a", b"new")

            assert (files_server.names(share), content(store, "d/a")) == (["d/", "d/a"], b"old")


def test_step_of_an_upload_is_repeated(files_server: FilesServer) -> None:
    """A body that comes once survives failures on its way: what failed is sent again."""
    share = files_server.share()
    body = [b"x" * 4 * 1024 * 1024, b"y" * 100]
    with opened(files_server, share) as store:
        for comp in ("range", "properties"):
            when = wants("PUT", share, comp=comp)
            files_server.fail_next(500, "InternalError", when=when)

        store.write("a", iter(body))

        assert content(store, "a") == b"".join(body)


def test_rest_of_an_upload_is_hidden(
    files_server: FilesServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A part that cannot be removed is logged, and neither listed nor reachable."""
    share = files_server.share()
    with opened(files_server, share, patience=Patience(attempts=1)) as store:
        store.write("d/a", b"old")
        files_server.fail_next(500, "InternalError", when=wants("PUT", f"{share}/d", comp="range"))
        files_server.fail_next(500, "InternalError", when=wants("DELETE", f"{share}/d"))

        with pytest.raises(Unavailable), caplog.at_level(logging.WARNING):
            store.write("d/a", b"new")
        left = [name for name in files_server.names(share) if "~" in name]
        listed = [info.key for page in store.list_folder("d") for info in page.objects]
        with pytest.raises(Unsupported):
            store.stat(left[0])

        assert (len(left), listed, everything(store)) == (1, ["d/a"], {"d/a": b"old"})
        assert [left[0] in record.getMessage() for record in caplog.records] == [True]


def test_short_body_is_not_an_end(files_server: FilesServer) -> None:
    """An answer with fewer bytes than it promised raises instead of ending the read."""
    share = files_server.share()
    with opened(files_server, share) as store:
        store.write("a", b"0123456789")
        version = store.stat("a").version
        files_server.answer_next(
            Reply(206, {"ETag": f'"{version}"', "Content-Range": "bytes 0-9/10"}, b"01234"),
            times=1,
            when=wants("GET", f"{share}/a"),
        )

        with pytest.raises(Unavailable, match="sent 5 of 10 bytes"):
            content(store, "a")


def test_file_replaced_during_a_read(files_server: FilesServer) -> None:
    """A stream never joins bytes of two versions."""
    with opened(files_server, files_server.share()) as store:
        store.write("a", b"1" * 9_000_000)

        with store.read("a") as stream:
            pieces = iter(stream)
            first = next(pieces)
            store.write("a", b"2" * 9_000_000)
            with pytest.raises(PreconditionFailed):
                next(pieces)

    assert set(bytes(first)) == {ord("1")}


@pytest.mark.parametrize("character", [*'"\\:|<>*?', "\x01", "\x81"])
def test_forbidden_character_is_named(files_server: FilesServer, character: str) -> None:
    """A name with a character that shares refuse is refused by naming it, before any request."""
    share = files_server.share()
    shown = character if character.isprintable() else f"\\u{ord(character):04x}"

    with (
        opened(files_server, share) as store,
        pytest.raises(Unsupported) as caught,
    ):
        store.write(f"folder/a{character}b", b"x")

    assert f'the character "{shown}"' in str(caught.value)
    assert files_server.requests_for(share) == []


def test_other_capitals_are_refused(files_server: FilesServer) -> None:
    """Whatever would replace or join what is there with other capitals is refused and names it."""
    share = files_server.share()
    with opened(files_server, share) as store, opened(files_server, share) as newcomer:
        assert newcomer.renaming
        assert newcomer.copying
        assert newcomer.folders
        store.write("Data/ReadMe", b"first")
        store.write("old", b"x")
        told = []
        for act in (
            lambda: store.write("Data/README", b"second"),
            lambda: newcomer.renaming.rename("old", "Data/readme"),
            lambda: newcomer.copying.copy("old", "Data/readme"),
            lambda: newcomer.write("data/ReadMe", b"second"),
            lambda: newcomer.write("data/deep/file", b"second"),
            lambda: newcomer.renaming.rename("old", "data/new"),
            lambda: newcomer.copying.copy("old", "data/new"),
            lambda: newcomer.folders.make_folder("DATA/more"),
        ):
            with pytest.raises(AlreadyExists) as caught:
                act()
            told.append(caught.value.detail.split('"')[1])

        assert told == ["Data/ReadMe"] * 3 + ["Data"] * 5
        assert everything(store) == {"Data/ReadMe": b"first", "old": b"x"}


@pytest.mark.parametrize("metadata", [{"two words": "x"}, {"a": "é"}, {"a": " x"}, {"a": ""}])
def test_metadata_that_headers_cannot_carry(
    files_server: FilesServer, metadata: dict[str, str]
) -> None:
    """Metadata that would come back changed is refused before anything is sent."""
    share = files_server.share()
    with opened(files_server, share) as store, pytest.raises(Unsupported, match="metadata"):
        store.write("a", b"x", metadata=metadata)

    assert files_server.requests_for(share) == []


def test_every_exception_of_the_client_is_placed() -> None:
    """No class of azure-core's exceptions is left without one of ours."""
    walked = {
        name
        for name, kind in vars(azure.core.exceptions).items()
        if isinstance(kind, type) and issubclass(kind, azure.core.exceptions.AzureError)
    }

    assert walked - set(PLACED) == set()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404, "ParentNotFound"), NotFound),
        (Answer(409, "SharingViolation"), Unavailable),
        (Answer(409, "ShareBeingDeleted"), Unavailable),
        (Answer(412, "LeaseIdMissing"), PermissionDenied),
        (Answer(412, "ConditionNotMet"), PreconditionFailed),
        (Answer(401, "InvalidAuthenticationInfo"), CredentialRefused),
        (Answer(403, "AuthorizationFailure"), PermissionDenied),
        (Answer(408), Unavailable),
        (Answer(400, "OutOfRangeInput"), Unsupported),
        (Answer(501), Unsupported),
    ],
)
def test_answers_have_their_errors(answer: Answer, kind: type[DatastoresError]) -> None:
    """Each answer of the service is the error by which a person knows what to do."""
    place = Place("images", "acc", "share", "https://acc.file.core.windows.net", "AccountKey")

    assert type(refused(place, "a", answer)) is kind
