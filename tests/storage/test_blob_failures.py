"""What people are told when a container cannot be used."""

from __future__ import annotations

import base64
import contextlib
import inspect
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import urllib3.exceptions
from azure.storage.blob import (
    BlobSasPermissions,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)

from datastores.credentials.kinds import AccountKey, Credential, Sas, Token
from datastores.definitions.azure_storage import BlobContainer
from datastores.errors import (
    AlreadyExists,
    Corrupted,
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
from datastores.storage.blob import open_blob
from datastores.storage.blob.failures import PLACED, Refusal, from_socket, refused
from datastores.storage.blob.place import Place
from datastores.storage.contract import ObjectInfo, Patience, Store
from tests.servers.azurite import Azurite

SHORT = Patience(connect_seconds=1.0, read_seconds=1.0)
PLACE = Place("pictures", "acme", "images", "https://acme.blob.core.windows.net", "AccountKey")

OPERATIONS: dict[str, Callable[[Any], object]] = {
    "check": lambda store: store.check(),
    "stat": lambda store: store.stat("a"),
    "read": lambda store: store.read("a"),
    "read odd key": lambda store: store.read("a//b"),
    "write": lambda store: store.write("a", b"x"),
    "write odd key": lambda store: store.write("a//b", b"x"),
    "delete": lambda store: store.delete("a"),
    "list": lambda store: list(store.list()),
    "list folder": lambda store: list(store.list_folder("a")),
    "stage": lambda store: store.staging.stage("a", "0001", b"x"),
    "staged": lambda store: store.staging.staged("a"),
    "copy": lambda store: store.copying.copy("a", "b"),
    "make folder": lambda store: store.folders.make_folder("a"),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())


@contextlib.contextmanager
def opened(
    endpoint: str, container: str, credential: Credential, patience: Patience = SHORT
) -> Iterator[Store]:
    definition = BlobContainer(DatastoreName("pictures"), container, "devstoreaccount1", endpoint)
    store = open_blob(definition, credential, patience)
    try:
        yield store
    finally:
        store.close()


def refusal(store: Store, operation: Callable[[Any], object]) -> DatastoresError:
    with pytest.raises(DatastoresError) as caught:
        operation(store)
    return caught.value


@every_operation
def test_missing_container(azurite: Azurite, operation: Callable[[Any], object]) -> None:
    """Every operation on a container that is not there names it and how to create it."""
    with opened(azurite.endpoint, "nowhere", AccountKey(azurite.key)) as store:
        error = refusal(store, operation)

    assert type(error) is NotFound
    assert 'no container "nowhere"' in str(error)
    assert "create_if_not_exists" in str(error)


def test_check_creates_a_missing_container(azurite: Azurite) -> None:
    """With `create` the container is made, and objects can be written."""
    with opened(azurite.endpoint, "made-by-check", AccountKey(azurite.key)) as store:
        store.check(create=True)
        store.check(create=True)
        store.write("a", b"x")

        assert store.stat("a").size == 1


@every_operation
def test_wrong_key(azurite: Azurite, operation: Callable[[Any], object]) -> None:
    """A key of another account is a refused credential, and no message shows it."""
    canary = base64.b64encode(b"canary" * 10).decode()
    with opened(azurite.endpoint, azurite.container(), AccountKey(Secret(canary))) as store:
        error = refusal(store, operation)

    assert type(error) is CredentialRefused
    assert "devstoreaccount1" in str(error)
    assert canary not in repr(error) + str(error) + str(error.__cause__)


def test_key_that_is_no_key(azurite: Azurite) -> None:
    """A key that is not base64 is a refused credential for both clients."""
    with opened(azurite.endpoint, "images", AccountKey(Secret("not base64!"))) as store:
        kinds = [type(refusal(store, OPERATIONS[name])) for name in ("read", "stat")]

    assert kinds == [CredentialRefused, CredentialRefused]


def test_expired_sas_is_refused_at_once(azurite: Azurite) -> None:
    """A SAS past its end is expired, with the moment, for both clients."""
    ended = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    sas = _container_sas(azurite, "images", ended, "rl")
    with opened(azurite.endpoint, "images", sas) as store:
        errors = [refusal(store, OPERATIONS[name]) for name in ("read", "stat")]

    assert [(type(e), getattr(e, "expired", None)) for e in errors] == [
        (CredentialExpired, ended)
    ] * 2
    assert all("2026-01-02T03:04:05" in str(error) for error in errors)


def test_sas_that_expires_in_mid_life(azurite: Azurite) -> None:
    """A store opened with a good SAS says that it expired once its end has passed."""
    container = azurite.container()
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    with opened(
        azurite.endpoint, container, _container_sas(azurite, container, ends, "rl")
    ) as store:
        assert [page for page in store.list() if page.objects] == []
        time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 1.1)  # the SAS's own end
        errors = [refusal(store, OPERATIONS[name]) for name in ("read", "stat", "list")]

    assert [(type(e), getattr(e, "expired", None)) for e in errors] == [
        (CredentialExpired, ends)
    ] * 3


def test_sas_that_does_not_allow(azurite: Azurite) -> None:
    """A SAS for reading that is used for writing is a permission that lacks, for both clients."""
    container = azurite.container()
    sas = _container_sas(azurite, container, datetime.now(UTC) + timedelta(hours=1), "rl")
    with opened(azurite.endpoint, container, sas) as store:
        errors = [refusal(store, OPERATIONS[name]) for name in ("write", "write odd key", "delete")]

    assert [(type(error), getattr(error, "key", "")) for error in errors] == [
        (PermissionDenied, "a"),
        (PermissionDenied, "a//b"),
        (PermissionDenied, "a"),
    ]


@every_operation
def test_nobody_listens(operation: Callable[[Any], object]) -> None:
    """A refused connection is unavailable, at once, and names the host."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    with opened(f"http://{host}/devstoreaccount1", "images", _key()) as store:
        began = time.monotonic()
        error = refusal(store, operation)
        took = time.monotonic() - began

    assert type(error) is Unavailable
    assert host in str(error)
    assert took < 5


@every_operation
def test_host_that_never_answers(operation: Callable[[Any], object]) -> None:
    """A host that accepts and stays silent is unavailable within the patience."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        with opened(f"http://{host}/devstoreaccount1", "images", _key()) as store:
            began = time.monotonic()
            error = refusal(store, operation)
            took = time.monotonic() - began

    assert type(error) is Unavailable
    assert host in str(error)
    assert "in time" in str(error)
    assert 0.5 < took < 5


@pytest.mark.parametrize("operation", ["read", "stat", "list"])
def test_name_that_does_not_resolve(operation: str) -> None:
    """A host name nobody knows is unavailable and named."""
    with opened("http://no-such-host.invalid/devstoreaccount1", "images", _key()) as store:
        error = refusal(store, OPERATIONS[operation])

    assert type(error) is Unavailable
    assert "no-such-host.invalid" in str(error)


@pytest.mark.parametrize("operation", ["read", "stat"])
def test_token_stays_at_home(operation: str) -> None:
    """A bearer token is not sent over plain http to another machine."""
    token = Token(Secret("canary-token"), time.time() + 3600)
    with opened("http://192.0.2.1/devstoreaccount1", "images", token) as store:
        error = refusal(store, OPERATIONS[operation])

    assert type(error) is CredentialRefused
    assert "plain http" in str(error)


def test_every_exception_is_placed() -> None:
    """No exception of urllib3 is without a place in our vocabulary."""
    names = {
        name
        for name, value in inspect.getmembers(urllib3.exceptions, inspect.isclass)
        if issubclass(value, Exception)
        and not issubclass(value, Warning)
        and value.__module__ == urllib3.exceptions.__name__
    }

    assert len(names) > 5
    assert names - PLACED.keys() == set()


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (Refusal(404, "BlobNotFound"), NotFound),
        (Refusal(404, "ContainerNotFound"), NotFound),
        (Refusal(409, "BlobAlreadyExists"), AlreadyExists),
        (Refusal(409, "ContainerBeingDeleted"), Unavailable),
        (Refusal(409, "BlobArchived"), Unsupported),
        (Refusal(409, "DirectoryIsNotEmpty"), Unsupported),
        (Refusal(409, "PublicAccessNotPermitted"), CredentialMissing),
        (Refusal(412, "ConditionNotMet"), PreconditionFailed),
        (Refusal(412, "LeaseIdMissing"), Unsupported),
        (Refusal(400, "Md5Mismatch"), Corrupted),
        (Refusal(400, "InvalidBlockList"), PreconditionFailed),
        (Refusal(400, "InvalidMetadata"), Unsupported),
        (Refusal(401, "NoAuthenticationInformation"), CredentialMissing),
        (Refusal(401, "InvalidAuthenticationInfo"), CredentialRefused),
        (Refusal(403, "AuthenticationFailed"), CredentialRefused),
        (Refusal(403, "AuthorizationPermissionMismatch"), PermissionDenied),
        (Refusal(403, "AuthorizationProtocolMismatch"), PermissionDenied),
        (Refusal(403), PermissionDenied),
        (Refusal(408), Unavailable),
        (Refusal(429, "TooManyRequests"), Unavailable),
        (Refusal(500, "InternalError"), Unavailable),
        (Refusal(501, "NotImplemented"), Unsupported),
        (Refusal(503, "ServerBusy"), Unavailable),
    ],
    ids=lambda value: getattr(value, "code", None) or getattr(value, "__name__", None),
)
def test_answers_of_the_service(answer: Refusal, want: type[DatastoresError]) -> None:
    """Azure's answers become the error that says what a person can do."""
    assert type(refused(PLACE, "a", answer)) is want


def test_message_without_signature() -> None:
    """An address inside a third party's message loses everything after its question mark."""
    text = "Error performing GET https://acme.blob.core.windows.net/images/a?sv=1&sig=canary%3D x"

    error = from_socket(PLACE, "a", OSError(text))

    assert "canary" not in str(error)
    assert "sv=1" not in str(error)


def test_unreadable_copy_source(azurite: Azurite) -> None:
    """A source the service may not read is `Unsupported`, and nothing is made."""
    container = azurite.container()
    url = f"{azurite.endpoint}/{container}/missing?" + generate_blob_sas(
        azurite.account,
        container,
        "missing",
        account_key=azurite.key.reveal(),
        permission=BlobSasPermissions(read=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    with opened(azurite.endpoint, container, AccountKey(azurite.key)) as store:
        assert store.copying
        with pytest.raises(Unsupported) as caught:
            store.copying.copy_from(url, "copy", ObjectInfo("missing", 3, None, None))

        assert [page.objects for page in store.list()] == [[]]
    assert "sig=" not in str(caught.value)


def _key() -> AccountKey:
    return AccountKey(Secret(base64.b64encode(b"x" * 64).decode()))


def _container_sas(azurite: Azurite, container: str, ends: datetime, allowed: str) -> Sas:
    token = generate_container_sas(
        azurite.account,
        container,
        azurite.key.reveal(),
        permission=ContainerSasPermissions.from_string(allowed),
        expiry=ends,
        start=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Sas(Secret(token))
