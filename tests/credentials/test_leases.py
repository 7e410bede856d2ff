"""Leases open what a job needs and nothing else, as far as the service can tell them apart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient

from datastores.credentials.forms import for_azure_sdk
from datastores.credentials.kinds import (
    AccountKey,
    Anonymous,
    Credential,
    Login,
    ManagedIdentity,
    Sas,
    StorageOptions,
    Token,
)
from datastores.credentials.leases import Access, Lease, lease
from datastores.definitions import (
    BlobContainer,
    DataLakeGen1,
    DataLakeGen2,
    FileShare,
    FsspecUrl,
    PostgreSql,
)
from datastores.errors import CredentialExpired, CredentialRefused, DefinitionRejected
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.open import open_store
from tests.servers.entra import CLIENT, Entra, TokenAzurite, storage_jwt

TRAIN = DatastoreName("train")
KEY = AccountKey(Secret(base64.b64encode(b"canary account key").decode()))
NOW = 1_700_000_000.0
HOUR = 3600.0


@pytest.fixture
def images(token_azurite: TokenAzurite, monkeypatch: pytest.MonkeyPatch) -> BlobContainer:
    """A container with two blobs."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(token_azurite.certificate.cert))
    container = ContainerClient(token_azurite.endpoint, "images", credential=token_azurite.key)
    with container:
        if not container.exists():
            container.create_container()
        for name in ("cats/1", "dogs/1"):
            container.upload_blob(name, name.encode(), overwrite=True)
        container.delete_blobs(
            *[name for name in container.list_blob_names() if name not in ("cats/1", "dogs/1")]
        )
    return BlobContainer(TRAIN, "images", token_azurite.account, token_azurite.endpoint)


@pytest.fixture
def owner(token_azurite: TokenAzurite) -> Credential:
    """Who has the account's key."""
    return AccountKey(Secret(token_azurite.key))


def opened(definition: BlobContainer, granted: Lease) -> ContainerClient:
    assert isinstance(granted.credential, Sas)
    return ContainerClient(
        definition.account_url.url,
        definition.container,
        credential=granted.credential.token.reveal(),
    )


def refused(act: Callable[[], object]) -> int:
    with pytest.raises(HttpResponseError) as error:
        act()
    return error.value.status_code or 0


def grant(definition: Any, credential: Credential, **wish: Any) -> Lease:
    return lease(
        definition,
        credential,
        **{
            "prefix": "cats",
            "access": Access.READ,
            "lifetime_seconds": HOUR,
            "now": lambda: NOW,
            **wish,
        },
    )


def terms(granted: Lease) -> dict[str, str]:
    assert isinstance(granted.credential, Sas)
    signed = dict(urllib.parse.parse_qsl(granted.credential.token.reveal()))
    return {name: signed[name] for name in ("sr", "sp", "spr", "st", "se", "sdd") if name in signed}


def test_a_lease_for_reading_reads(images: BlobContainer, owner: Credential) -> None:
    """A lease for reading lists and reads its container, and writes and deletes nothing in it."""
    granted = grant(images, owner, now=time.time)

    with opened(images, granted) as container:
        got = (
            list(container.list_blob_names()),
            container.download_blob("cats/1").readall(),
            refused(lambda: container.upload_blob("cats/2", b"new")),
            refused(lambda: container.upload_blob("cats/1", b"other", overwrite=True)),
            refused(lambda: container.delete_blob("cats/1")),
        )

    assert got == (["cats/1", "dogs/1"], b"cats/1", 403, 403, 403)
    assert granted.narrowed


def test_a_lease_for_writing_writes(images: BlobContainer, owner: Credential) -> None:
    """A lease for writing writes whole blobs and blocks, reads them back, and deletes."""
    granted = grant(images, owner, access=Access.WRITE, now=time.time)

    with opened(images, granted) as container:
        container.upload_blob("cats/3", b"old")
        container.upload_blob("cats/3", b"new", overwrite=True)
        blob = container.get_blob_client("cats/4")
        blob.stage_block("MQ==", b"block")
        staged = [block.id for block in blob.get_block_list("uncommitted")[1]]
        got = container.download_blob("cats/3").readall()
        container.delete_blob("cats/3")
        left = list(container.list_blob_names())

    assert (staged, got, left) == (["MQ=="], b"new", ["cats/1", "dogs/1"])


def test_a_lease_for_a_file_opens_no_other(images: BlobContainer, owner: Credential) -> None:
    """A lease for one blob reads it, and neither its neighbour nor the listing."""
    granted = grant(images, owner, prefix="cats/1", is_file=True, now=time.time)

    with opened(images, granted) as container:
        got = (
            container.download_blob("cats/1").readall(),
            refused(lambda: container.download_blob("dogs/1")),
            refused(lambda: list(container.list_blob_names())),
        )

    assert got == (b"cats/1", 403, 403)


def test_an_ended_lease_is_refused(images: BlobContainer, owner: Credential) -> None:
    """After its end a lease opens nothing."""
    granted = grant(images, owner, now=lambda: time.time() - 7200)

    with opened(images, granted) as container:
        assert refused(lambda: container.download_blob("cats/1")) == 403


@pytest.mark.parametrize(
    ("definition", "wish", "signed"),
    [
        (BlobContainer(TRAIN, "c", "a"), {}, {"sr": "c", "sp": "rl"}),
        (BlobContainer(TRAIN, "c", "a"), {"access": Access.WRITE}, {"sr": "c", "sp": "racwdl"}),
        (
            BlobContainer(TRAIN, "c", "a"),
            {"access": Access.READ_WRITE, "is_file": True},
            {"sr": "b", "sp": "racwd"},
        ),
        (
            BlobContainer(TRAIN, "c", "a", protocol="http"),
            {"is_file": True},
            {"sr": "b", "sp": "r", "spr": "https,http"},
        ),
        (DataLakeGen2(TRAIN, "c", "a"), {}, {"sr": "d", "sp": "rl", "sdd": "1"}),
        (
            DataLakeGen2(TRAIN, "c", "a"),
            {"prefix": "cats/big/grey", "access": Access.WRITE},
            {"sr": "d", "sp": "racwdlm", "sdd": "3"},
        ),
        (DataLakeGen2(TRAIN, "c", "a"), {"prefix": ""}, {"sr": "c", "sp": "rl"}),
        (DataLakeGen2(TRAIN, "c", "a"), {"is_file": True}, {"sr": "b", "sp": "r"}),
        (FileShare(TRAIN, "c", "a"), {}, {"sr": "s", "sp": "rl"}),
        (FileShare(TRAIN, "c", "a"), {"access": Access.WRITE}, {"sr": "s", "sp": "rcwdl"}),
        (
            FileShare(TRAIN, "c", "a"),
            {"is_file": True, "access": Access.WRITE},
            {"sr": "f", "sp": "rcwd"},
        ),
    ],
)
def test_a_key_signs_the_least(
    definition: BlobContainer | DataLakeGen2 | FileShare,
    wish: dict[str, Any],
    signed: dict[str, str],
) -> None:
    """Extent and rights are the narrowest the service knows, over https, from before any skew."""
    granted = grant(definition, KEY, **wish)

    assert terms(granted) == {
        "spr": "https",
        "st": "2023-11-14T21:58:20Z",
        "se": "2023-11-14T23:13:20Z",
        **signed,
    }
    assert (granted.narrowed, granted.expires_at, granted.renew_at) == (
        True,
        NOW + HOUR,
        NOW + 2400,
    )


def test_a_wide_lease_says_so() -> None:
    """A lease for a folder of a plain container tells that it opens the container."""
    notes = [
        grant(BlobContainer(TRAIN, "c", "a"), KEY, prefix=prefix).note for prefix in ("cats", "")
    ]

    assert notes == [
        (
            "the service signs for whole containers and shares or single files: "
            '"cats" is opened together with everything else in "c"'
        ),
        "",
    ]


def test_an_identity_signs_with_the_services_key(
    images: BlobContainer, token_azurite: TokenAzurite
) -> None:
    """An identity's lease is signed with the delegation key that the service hands out for it.

    Azurite does not know the client's version of these signatures yet, so the signature is
    computed a second time here, field by field.
    """
    owner = Token(Secret(storage_jwt(3600)), time.time() + 3600)

    granted = grant(images, owner, prefix="cats/1", is_file=True, now=time.time)

    assert isinstance(granted.credential, Sas)
    signed = dict(urllib.parse.parse_qsl(granted.credential.token.reveal()))
    start, end = (datetime.fromisoformat(signed[name]) for name in ("skt", "ske"))
    key = delegation_key(images, owner, start, end)
    place = f"/blob/{token_azurite.account}/images/cats/1"
    lines = [
        *(signed["sp"], signed["st"], signed["se"], place),
        *(signed[name] for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")),
        *("", "", "", "", ""),
        *("", signed["spr"], signed["sv"], signed["sr"], "", ""),
        *("", ""),
        *("", "", "", "", ""),
    ]
    mac = hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256)
    assert signed["sig"] == base64.b64encode(mac.digest()).decode()
    assert terms(granted) == {
        **{name: signed[name] for name in ("st", "se")},
        "sr": "b",
        "sp": "r",
        "spr": "https",
    }
    assert granted.narrowed


def test_addresses_of_many_objects_share_a_key(images: BlobContainer) -> None:
    """An identity signs the addresses of many objects with one key, each by itself."""
    owner = Token(Secret(storage_jwt(3600)), time.time() + 3600)
    store = open_store(images, owner)
    assert store.copying

    addresses = [store.copying.signed_url(key, 600.0) for key in ("cats/1", "cats/2")]
    store.close()

    signed = [dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(a or "").query)) for a in addresses]
    assert signed[0]["skt"] == signed[1]["skt"]
    assert signed[0]["sig"] != signed[1]["sig"]
    assert signed[0]["ske"] > signed[0]["se"]


def delegation_key(
    definition: BlobContainer, owner: Credential, start: datetime, end: datetime
) -> str:
    form: Any = for_azure_sdk(owner, definition.account, store="train")
    with BlobServiceClient(definition.account_url.url, credential=form) as client:
        return str(client.get_user_delegation_key(start, end).value)


def test_a_delegated_lease_ends_within_a_week(images: BlobContainer) -> None:
    """An identity cannot sign for more than seven days, and the lease tells the earlier end."""
    start = float(int(time.time()))
    owner = Token(Secret(storage_jwt(3600)), start + 3600)

    granted = grant(images, owner, lifetime_seconds=30 * 24 * HOUR, now=lambda: start)

    assert granted.expires_at == start + 7 * 24 * HOUR


@pytest.mark.parametrize("lifetime_seconds", [60.0, 100 * 24 * HOUR])
def test_a_sas_keeps_its_own_end(lifetime_seconds: float) -> None:
    """A SAS is passed on as it is, and its end is told whatever lifetime was asked for."""
    sas = Sas(Secret("se=2023-11-15&sp=rl&sig=canary"))
    ends = datetime(2023, 11, 15, tzinfo=UTC).timestamp()

    granted = grant(BlobContainer(TRAIN, "c", "a"), sas, lifetime_seconds=lifetime_seconds)

    assert granted == Lease(
        sas,
        "cats",
        Access.READ,
        ends,
        NOW + (min(NOW + lifetime_seconds, ends) - NOW) * 2 / 3,
        narrowed=False,
        note="a SAS cannot be narrowed, so it is passed on with its own rights and its own end",
    )


def test_an_ended_sas_is_not_leased() -> None:
    """A job is not started with a SAS that has ended."""
    with pytest.raises(CredentialExpired):
        grant(BlobContainer(TRAIN, "c", "a"), Sas(Secret("se=2023-11-14&sig=x")))


@pytest.mark.parametrize(
    ("definition", "scope"),
    [
        (DataLakeGen1(TRAIN, "lake"), "https://datalake.azure.net"),
        (FileShare(TRAIN, "c", "a"), "https://storage.azure.com"),
        (PostgreSql(TRAIN, "server", "db"), "https://ossrdbms-aad.database.windows.net"),
    ],
)
def test_an_identity_is_leased_as_its_token(
    definition: DataLakeGen1 | FileShare | PostgreSql,
    scope: str,
    entra: Entra,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing narrower exists the job gets one token for that service, not the identity."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url)

    granted = grant(definition, ManagedIdentity(CLIENT), now=time.time)

    assert granted.expires_at is not None
    user = CLIENT if definition.holds == "rows" else None  # databases ask whom it logs in
    assert granted.credential == Token(Secret(entra.issued[0].token), granted.expires_at, user)
    assert (entra.issued[0].scope, granted.narrowed) == (scope, False)


def test_an_identity_that_may_not_delegate_lends_its_token(
    entra: Entra, monkeypatch: pytest.MonkeyPatch, token_azurite: TokenAzurite
) -> None:
    """Without the right to delegate the lease is the identity's own token, and says so."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(token_azurite.certificate.cert))
    # Azurite answers 403 to a token of another audience.
    token = Token(Secret(storage_jwt(3600, "https://elsewhere.example")), time.time() + 3600)
    definition = BlobContainer(TRAIN, "images", token_azurite.account, token_azurite.endpoint)

    granted = grant(definition, token, now=time.time)

    assert (granted.credential, granted.narrowed) == (
        Token(token.token, float(int(token.expires_at))),
        False,
    )
    assert granted.note.startswith("the identity may not delegate, so its own token is passed on")
    assert granted.note.endswith("give the identity the role Storage Blob Delegator")


@pytest.mark.parametrize(
    ("definition", "credential", "note"),
    [
        (
            PostgreSql(TRAIN, "server", "db"),
            Login("me", Secret("pass")),
            "there is no narrower form of a database login",
        ),
        (
            FsspecUrl(TRAIN, "s3://bucket/folder"),
            StorageOptions(Secret("{}")),
            "there is no narrower form of a set of storage options",
        ),
        (
            BlobContainer(TRAIN, "c", "a"),
            Anonymous(),
            "",
        ),
    ],
)
def test_what_cannot_be_narrowed_is_marked(
    definition: PostgreSql | FsspecUrl | BlobContainer, credential: Credential, note: str
) -> None:
    """Passwords and options go to the job as they are, plainly marked, without an end."""
    assert grant(definition, credential) == Lease(
        credential, "cats", Access.READ, None, None, narrowed=False, note=note
    )


@pytest.mark.parametrize("lifetime_seconds", [0.0, -1.0, float("nan")])
def test_a_lease_lasts_for_some_time(lifetime_seconds: float) -> None:
    """A lifetime that is no time is refused."""
    with pytest.raises(DefinitionRejected):
        grant(BlobContainer(TRAIN, "c", "a"), KEY, lifetime_seconds=lifetime_seconds)


def test_a_broken_key_signs_nothing() -> None:
    """A key that is not base64 is refused, and the error has no frames that hold it."""
    with pytest.raises(CredentialRefused) as error:
        grant(BlobContainer(TRAIN, "c", "a"), AccountKey(Secret("canary-key!")))

    assert (error.value.__cause__, error.value.__context__) == (None, None)
    assert "canary" not in str(error.value)


def test_an_identity_is_not_sent_over_plain_http() -> None:
    """A store reached over http gets no token."""
    definition = BlobContainer(TRAIN, "c", "a", protocol="http")

    with pytest.raises(CredentialRefused, match="plain http"):
        grant(definition, Token(Secret("canary-token"), NOW + HOUR))
