"""Each form of a credential, shown to the library it was made for."""

from __future__ import annotations

import copy
import functools
import json
import os
import pickle
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import (
    BlobServiceClient,
    ContainerSasPermissions,
    PublicAccess,
    generate_container_sas,
)

from datastores.credentials.forms import (
    OPEN_SOURCE_DATABASE_SCOPE,
    DatabaseLogin,
    for_async_azure_sdk,
    for_azure_sdk,
    for_database,
    for_own_requests,
)
from datastores.credentials.kinds import (
    AccountKey,
    Anonymous,
    Credential,
    Identity,
    Kerberos,
    Login,
    ManagedIdentity,
    Sas,
    ServicePrincipal,
    StorageOptions,
    Token,
)
from datastores.definitions import BlobContainer
from datastores.errors import CredentialExpired, CredentialRefused, Unsupported
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.open import open_store
from datastores.storage.verbs import read_bytes
from tests.servers.entra import BLOB, CLIENT, TENANT, Entra, TokenAzurite, storage_jwt

UNFIT = [
    Login("me", Secret("canary")),
    Kerberos(password=Secret("canary")),
    StorageOptions(Secret("{}")),
]
FIT = ["key", "sas", "token", "anonymous"]


@pytest.fixture
def account(token_azurite: TokenAzurite, monkeypatch: pytest.MonkeyPatch) -> TokenAzurite:
    """Azurite with one blob in a private container and one in a public container."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(token_azurite.certificate.cert))
    with BlobServiceClient(token_azurite.endpoint, credential=token_azurite.key) as client:
        for name, public in (("private", None), ("public", PublicAccess.CONTAINER)):
            if not (container := client.get_container_client(name)).exists():
                container.create_container(public_access=public)
            container.upload_blob("a", BLOB, overwrite=True)
    return token_azurite


def credential(name: str, account: TokenAzurite) -> Credential:
    match name:
        case "key":
            return AccountKey(Secret(account.key))
        case "sas":
            return Sas(Secret(sas(account)))
        case "token":
            return Token(Secret(storage_jwt(3600)), time.time() + 3600)
        case _:
            return Anonymous()


def sas(account: TokenAzurite) -> str:
    return generate_container_sas(
        account.account,
        "private",
        account.key,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


def container_of(name: str) -> str:
    return "public" if name == "anonymous" else "private"


def read(endpoint: str, container: str, credential: Credential, times: int = 1) -> list[bytes]:
    """The blob `a`, through the project's own store."""
    place = BlobContainer(DatastoreName("train"), container, "devstoreaccount1", endpoint)
    store = open_store(place, credential)
    try:
        return [read_bytes(store, "a") for _ in range(times)]
    finally:
        store.close()


@pytest.mark.parametrize("name", FIT)
def test_a_store_reads_with(
    name: str, account: TokenAzurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store reads with each kind over TLS, whatever the environment says about other accounts."""
    for variable in ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_TOKEN", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(variable, "d3Jvbmc=")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sig=wrong")

    got = read(account.endpoint, container_of(name), credential(name, account))

    assert got == [BLOB]


def test_a_host_without_a_trusted_certificate_is_refused(
    account: TokenAzurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that no known authority vouches for gets no request, and the reason is told."""
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(variable, raising=False)

    with pytest.raises(Unsupported, match=r"certificate verify failed.*REQUESTS_CA_BUNDLE"):
        read(account.endpoint, "private", credential("key", account))


@pytest.mark.parametrize("name", FIT)
def test_azures_client_reads_with(name: str, account: TokenAzurite) -> None:
    """Azure's own client reads with each kind."""
    form: Any = for_azure_sdk(credential(name, account), account.account, store="train")

    with BlobServiceClient(account.endpoint, credential=form) as client:
        got = client.get_blob_client(container_of(name), "a").download_blob().readall()

    assert got == BLOB


# aiohttp reads the trusted certificates when it is imported, so adlfs runs in a process of its own; the forms are made there from the parts that came through its input.
_ADLFS = textwrap.dedent(
    """
    import asyncio, json, sys, time
    from azure.storage.blob.aio import BlobServiceClient
    from datastores.credentials.forms import for_async_azure_sdk
    from datastores.credentials.kinds import AccountKey, Anonymous, Sas, Token
    from datastores.definitions import BlobContainer
    from datastores.filesystem.container import ContainerFileSystem
    from datastores.names import DatastoreName
    from datastores.secret import Secret

    asked = json.load(sys.stdin)
    kinds = {
        "key": lambda text: AccountKey(Secret(text)),
        "sas": lambda text: Sas(Secret(text)),
        "token": lambda text: Token(Secret(text), time.time() + 3600),
        "anonymous": lambda text: Anonymous(),
    }
    credential = kinds[asked["kind"]](asked["secret"])
    endpoint, account = asked["endpoint"], asked["account"]

    container = asked["path"].partition("/")[0]
    place = BlobContainer(DatastoreName("train"), container, account, endpoint)
    first = ContainerFileSystem(place, credential).cat_file(asked["path"])

    async def read():
        form = for_async_azure_sdk(credential, account, store="train")
        async with BlobServiceClient(endpoint, credential=form) as client:
            blob = client.get_blob_client(*asked["path"].split("/"))
            return await (await blob.download_blob()).readall()

    print(json.dumps([first.decode(), asyncio.run(read()).decode()]))
    """
)


@pytest.mark.parametrize("name", FIT)
def test_adlfs_and_clients_that_await_read_with(name: str, account: TokenAzurite) -> None:
    """adlfs and Azure's asynchronous client read with each kind."""
    secrets = {"key": account.key, "sas": sas(account), "token": storage_jwt(3600)}
    asked = {
        "kind": name,
        "secret": secrets.get(name),
        "endpoint": account.endpoint,
        "account": account.account,
        "path": f"{container_of(name)}/a",
    }

    ran = subprocess.run(
        [sys.executable, "-c", _ADLFS],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
        # adlfs would rather believe the environment than its caller.
        env={
            **os.environ,
            "SSL_CERT_FILE": str(account.certificate.cert),
            "AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://127.0.0.1:1/wrong",
        },
    )

    assert (ran.returncode, ran.stdout.strip()) == (0, json.dumps([BLOB.decode()] * 2)), ran.stderr


def test_a_store_sends_the_identitys_token(entra: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store's request carries the token that the machine's identity was given."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url)

    got = read(entra.url, "c", ManagedIdentity(CLIENT))

    assert (got, set(entra.authorized)) == ([BLOB], {f"Bearer {entra.issued[0].token}"})


def test_a_store_gets_a_new_token_before_the_old_one_ends(
    entra: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transfer goes on with another token when the first one has ended."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url)
    entra.lifetime_seconds = 1
    deadline = time.monotonic() + 20

    # Tokens live for one second, and each further read counts towards the next token.
    while len(entra.issued) < 2 and time.monotonic() < deadline:
        assert read(entra.url, "c", Identity(), times=3) == [BLOB] * 3

    assert entra.authorized[-1] == f"Bearer {entra.issued[-1].token}"
    assert len(entra.issued) >= 2


def test_an_ended_token_is_not_sent() -> None:
    """A token that nobody can renew and that has ended is named with its end, before any request."""
    with pytest.raises(CredentialExpired):
        read("http://127.0.0.1:1", "c", Token(Secret("old-token"), 1_700_000_000.0))


@pytest.mark.parametrize("unfit", UNFIT, ids=lambda kind: kind.kind)
def test_storage_refuses_other_kinds(unfit: Credential) -> None:
    """A credential that Azure storage does not know is refused with the list of those it does."""
    said = []
    for form in (
        functools.partial(for_own_requests, unfit, store="train"),
        functools.partial(for_azure_sdk, unfit, "account", store="train"),
        functools.partial(for_async_azure_sdk, unfit, "account", store="train"),
    ):
        with pytest.raises(CredentialRefused) as refused:
            form()
        said.append(str(refused.value).partition(" does not open ")[2])

    assert (
        said
        == ["Azure storage; give an account key, a SAS, a service principal, or an identity"] * 3
    )


def test_an_expired_sas_is_not_sent() -> None:
    """A SAS that has ended is an error here and not a riddle from the service."""
    ended = Sas(Secret("se=2001-02-03&sig=canary"))

    with pytest.raises(CredentialExpired) as refused:
        for_own_requests(ended, store="train")

    assert refused.value.expired == datetime(2001, 2, 3, tzinfo=UTC)


def test_a_password_opens_a_database() -> None:
    """A login is passed on as it is."""
    assert for_database(Login("me", Secret("pass")), store="sales") == DatabaseLogin(
        username="me", password=Secret("pass")
    )


def test_an_identity_opens_a_database_with_tokens(
    entra: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An identity's token is for the scope that was named, and its client id is the user."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url)

    login = for_database(ManagedIdentity(CLIENT), store="sales", scope=OPEN_SOURCE_DATABASE_SCOPE)

    assert login.access_token is not None
    assert (login.username, login.password, login.access_token().reveal()) == (
        CLIENT,
        None,
        entra.issued[0].token,
    )
    assert entra.issued[0].scope == "https://ossrdbms-aad.database.windows.net"


def test_a_key_opens_no_database() -> None:
    """A storage key is refused with what a database takes."""
    with pytest.raises(CredentialRefused) as refused:
        for_database(AccountKey(Secret("a2V5")), store="sales")

    assert str(refused.value) == (
        'credential of "sales": an account key does not open a database; '
        "give a user name and password, a service principal, or an identity"
    )


def test_identities_are_not_pickled() -> None:
    """A form that could renew tokens is not sent to another process."""
    principal = ServicePrincipal(TENANT, CLIENT, Secret("canary"))

    form = for_async_azure_sdk(principal, "account", store="train")

    for act in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="give workers the datastore's name"):
            act(form)  # type: ignore[operator]  # both take anything
