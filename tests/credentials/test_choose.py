"""What a person typed becomes one credential, or a sentence that helps."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from datastores.credentials.choose import (
    choose_database_credential,
    choose_service_principal,
    choose_storage_credential,
    sas_expiry,
)
from datastores.credentials.kinds import (
    AccountKey,
    Credential,
    Identity,
    Login,
    Sas,
    ServicePrincipal,
)
from datastores.errors import CredentialExpired, DatastoresError, DefinitionRejected
from datastores.secret import Secret

KEY = "Y2FuYXJ5LWFjY291bnQta2V5"
SAS = "sv=2024-11-04&se=2999-01-01T00%3A00%3A00Z&sr=c&sp=rl&sig=canary%2Fsignature%3D"
PRINCIPAL = {"tenant_id": "a-tenant", "client_id": "a-client", "client_secret": "canary-secret"}


def storage(**given: Any) -> Credential:
    return choose_storage_credential("train", **given)


def rejection(choose: Callable[..., Credential], **given: str | None) -> str:
    with pytest.raises(DefinitionRejected) as refused:
        choose("train", **given)
    return str(refused.value).removeprefix('definition of "train" rejected: ')


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"account_key": KEY, "sas_token": None}, AccountKey(Secret(KEY))),
        ({"account_key": f" {KEY}\n", "sas_token": ""}, AccountKey(Secret(KEY))),
        ({"account_key": "", "sas_token": SAS}, Sas(Secret(SAS))),
        ({"sas_token": f"?{SAS}"}, Sas(Secret(SAS))),
        ({"sas_token": f"https://a.blob.core.windows.net/c?{SAS}"}, Sas(Secret(SAS))),
        ({"account_key": None, "sas_token": None}, Identity()),
        ({"account_key": "", "sas_token": " "}, Identity()),
        (PRINCIPAL, ServicePrincipal("a-tenant", "a-client", Secret("canary-secret"))),
    ],
)
def test_storage_gets_what_was_given(given: dict[str, str | None], chosen: Credential) -> None:
    """A key, a SAS in any spelling, or a principal is taken; blank means not given."""
    assert storage(**given) == chosen


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            {"account_key": KEY, "sas_token": SAS},
            "an account key and a SAS were given; give the one that shall be used",
        ),
        (
            {"sas_token": SAS, **PRINCIPAL},
            "a SAS and a service principal were given; give the one that shall be used",
        ),
        (
            {"account_key": "not base64!"},
            "the account key is not base64; copy it again from the storage account's access keys",
        ),
        ({"account_key": SAS}, "the account key is a SAS; give it as sas_token"),
        (
            {"account_key": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={KEY};"},
            (
                "the account key is a whole connection string; "
                'give only what stands between "AccountKey=" and the next semicolon'
            ),
        ),
        (
            {"sas_token": f"BlobEndpoint=https://a;SharedAccessSignature={SAS}"},
            (
                "the SAS is a whole connection string; give only what follows "
                '"SharedAccessSignature=", or the account key as account_key'
            ),
        ),
        (
            {"sas_token": "sv=2024-11-04&sp=rl"},
            (
                'the SAS has no signature ("sig="); '
                'a SAS has the form "sv=...&se=...&sig=..."; copy all of it'
            ),
        ),
        (
            {"sas_token": KEY},
            (
                'the SAS has no signature ("sig="); '
                "it looks like an account key; give it as account_key"
            ),
        ),
    ],
)
def test_what_cannot_work_is_rejected_with_help(given: dict[str, str], reason: str) -> None:
    """Each mistake with keys and signatures has its own sentence."""
    assert rejection(choose_storage_credential, **given) == reason


def test_an_expired_sas_is_refused_with_its_end() -> None:
    """A SAS that has ended cannot be registered, and the moment of its end is told."""
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)

    with pytest.raises(CredentialExpired) as refused:
        choose_storage_credential(
            "train", sas_token="se=2024-05-06T07:08:09Z&sig=x", now=moment.timestamp
        )

    assert (refused.value.expired, str(refused.value)) == (
        moment,
        (
            'credential of "train": expired at 2024-05-06T07:08:09+00:00; '
            "create a new SAS and register it"
        ),
    )


def test_a_sas_is_good_before_its_end() -> None:
    """One second before its end a SAS is taken."""
    before = datetime(2024, 5, 6, 7, 8, 8, tzinfo=UTC)
    token = "se=2024-05-06T07:08:09Z&sig=x"

    chosen = choose_storage_credential("train", sas_token=token, now=before.timestamp)

    assert chosen == Sas(Secret(token))


@pytest.mark.parametrize(
    ("ends", "moment"),
    [
        ("2030-01-02T03%3A04%3A05Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2030-01-02T03:04Z", datetime(2030, 1, 2, 3, 4, tzinfo=UTC)),
        ("2030-01-02", datetime(2030, 1, 2, tzinfo=UTC)),
        ("2030-01-02T03:04:05.1234567Z", datetime(2030, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2030-01-02T05%3A04%3A05%2B02%3A00", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("soon", None),
    ],
)
def test_the_end_of_a_sas_is_read(ends: str, moment: datetime | None) -> None:
    """Every form of a date that Azure writes or accepts is understood."""
    assert sas_expiry(Secret(f"?sv=1&se={ends}&sig=x")) == moment


def test_a_sas_without_an_end_has_none() -> None:
    """A SAS that follows a stored policy has no end that can be read from it."""
    assert sas_expiry(Secret("si=policy&sig=x")) is None


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"tenant_id": "t"}, "client_id and client_secret"),
        ({"client_id": "c", "client_secret": "canary-secret"}, "tenant_id"),
        ({"tenant_id": "t", "client_id": "c", "client_secret": ""}, "client_secret"),
    ],
)
def test_half_a_principal_is_rejected(given: dict[str, str], missing: str) -> None:
    """A principal is all of tenant, id and secret, or none of it."""
    assert rejection(choose_service_principal, **given) == (
        f"half a service principal: {missing} missing; "
        "give tenant_id, client_id and client_secret, or none of them"
    )


def test_a_principal_keeps_its_addresses() -> None:
    """Authority and resource are kept, and mean nothing without a principal."""
    addresses = {
        "authority_url": "https://login.chinacloudapi.cn",
        "resource_url": "https://storage.azure.cn/",
    }

    assert (
        choose_service_principal("train", **PRINCIPAL, **addresses),
        choose_service_principal("train", **addresses),
    ) == (
        ServicePrincipal("a-tenant", "a-client", Secret("canary-secret"), *addresses.values()),
        Identity(),
    )


def test_an_authority_without_tls_is_rejected() -> None:
    """No secret goes to a plain http authority."""
    reason = rejection(choose_service_principal, **PRINCIPAL, authority_url="http://login")

    assert reason == 'authority_url "http://login" is not encrypted; write it with https'


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"username": "me", "password": " pass "}, Login("me", Secret(" pass "))),
        ({"username": "me", "password": "p", **PRINCIPAL}, Login("me", Secret("p"))),
        (PRINCIPAL, ServicePrincipal("a-tenant", "a-client", Secret("canary-secret"))),
        ({"username": "", "password": None}, Identity()),
    ],
)
def test_a_database_gets_what_was_given(given: dict[str, str | None], chosen: Credential) -> None:
    """A user wins over a principal, a principal over none."""
    assert choose_database_credential("sales", **given) == chosen


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"username": "me"}, "a username without a password; give both or neither"),
        ({"password": "canary-secret"}, "a password without a username; give both or neither"),
    ],
)
def test_half_a_login_is_rejected(given: dict[str, str], reason: str) -> None:
    """A user and a password come together."""
    assert rejection(choose_database_credential, **given) == reason


@pytest.mark.parametrize(
    ("choose", "given"),
    [
        (choose_storage_credential, {"account_key": "canary!", "sas_token": None}),
        (choose_storage_credential, {"account_key": f"AccountKey=canary;{KEY}"}),
        (choose_storage_credential, {"account_key": KEY, "sas_token": SAS}),
        (choose_storage_credential, {"sas_token": "sv=canary&sp=r"}),
        (choose_storage_credential, {"sas_token": "se=2001-01-01&sig=canary"}),
        (choose_service_principal, {"client_secret": "canary-secret"}),
        (choose_database_credential, {"password": "canary-password"}),
        (choose_database_credential, {"username": "me", "client_secret": "canary-secret"}),
    ],
)
def test_no_frame_holds_a_secret(
    choose: Callable[..., Credential], given: dict[str, str | None]
) -> None:
    """A crash report with the variables of every frame shows no secret."""
    with pytest.raises(DatastoresError) as refused:
        choose("train", **given)

    error = refused.value
    assert error.__traceback__ is not None
    # The frame of this test, which holds the secret in `given`, is left out.
    error = error.with_traceback(error.__traceback__.tb_next)
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(report.format())
    assert "********" in text
    assert [part for part in ("canary", KEY) if part in text] == []
