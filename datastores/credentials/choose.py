"""Which credential a person meant, decided when a datastore is registered."""

from __future__ import annotations

import base64
import time
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime

from datastores.credentials.expiry import sas_expiry
from datastores.credentials.kinds import (
    AccountKey,
    Credential,
    Identity,
    Login,
    Sas,
    ServicePrincipal,
)
from datastores.errors import CredentialExpired, DefinitionRejected
from datastores.secret import Secret

__all__ = [
    "choose_database_credential",
    "choose_service_principal",
    "choose_storage_credential",
    "sas_expiry",
]


# In every function here the text of a secret is wrapped before anything can raise, because crash
# reporters print the variables of each frame.


def choose_storage_credential(
    name: str,
    *,
    account_key: str | Secret | None = None,
    sas_token: str | Secret | None = None,
    tenant_id: str | None = None,
    client_id: str | None = None,
    client_secret: str | Secret | None = None,
    authority_url: str | None = None,
    resource_url: str | None = None,
    now: Callable[[], float] = time.time,
) -> Credential:
    """A key, a SAS or a service principal, whichever is given; `Identity` when none is."""
    account_key, sas_token = _secret(account_key), _secret(sas_token)
    client_secret = _secret(client_secret)
    principal = choose_service_principal(
        name,
        tenant_id=tenant_id,
        client_id=client_id,
        client_secret=client_secret,
        authority_url=authority_url,
        resource_url=resource_url,
    )
    given = [
        *(["an account key"] if account_key else []),
        *(["a SAS"] if sas_token else []),
        *(["a service principal"] if principal != Identity() else []),
    ]
    if len(given) > 1:
        raise DefinitionRejected(
            name, f"{' and '.join(given)} were given; give the one that shall be used"
        )
    if account_key:
        return AccountKey(_checked_key(name, account_key))
    if sas_token:
        return Sas(_checked_sas(name, sas_token, now()))
    return principal


def choose_service_principal(
    name: str,
    *,
    tenant_id: str | None = None,
    client_id: str | None = None,
    client_secret: str | Secret | None = None,
    authority_url: str | None = None,
    resource_url: str | None = None,
) -> Credential:
    """The service principal when all of it is given, `Identity` when none of it is."""
    client_secret = _secret(client_secret)
    tenant_id, client_id = _text(tenant_id), _text(client_id)
    parts = {"tenant_id": tenant_id, "client_id": client_id, "client_secret": client_secret}
    missing = [part for part, value in parts.items() if not value]
    if len(missing) == len(parts):
        return Identity()
    if tenant_id is None or client_id is None or client_secret is None:
        raise DefinitionRejected(
            name,
            f"half a service principal: {' and '.join(missing)} missing; "
            "give tenant_id, client_id and client_secret, or none of them",
        )
    return ServicePrincipal(
        tenant_id,
        client_id,
        client_secret,
        _checked_url(name, "authority_url", authority_url),
        _checked_url(name, "resource_url", resource_url),
    )


def choose_database_credential(
    name: str,
    *,
    username: str | None = None,
    password: str | Secret | None = None,
    tenant_id: str | None = None,
    client_id: str | None = None,
    client_secret: str | Secret | None = None,
    authority_url: str | None = None,
    resource_url: str | None = None,
) -> Credential:
    """A user with a password, else a service principal, else `Identity`.

    When both are given in full the user wins, as it does in Azure ML.
    """
    password, client_secret = _secret(password, strip=False), _secret(client_secret)
    username = _text(username)
    if username and password:
        return Login(username, password)
    if username or password:
        there, missing = ("username", "password") if username else ("password", "username")
        raise DefinitionRejected(name, f"a {there} without a {missing}; give both or neither")
    return choose_service_principal(
        name,
        tenant_id=tenant_id,
        client_id=client_id,
        client_secret=client_secret,
        authority_url=authority_url,
        resource_url=resource_url,
    )


def _secret(value: str | Secret | None, *, strip: bool = True) -> Secret | None:
    # What is pasted often ends with a line break; only in a password that could be meant.
    return Secret.wrap(value.strip() if strip and isinstance(value, str) else value)


def _text(value: str | None) -> str | None:
    return (value or "").strip() or None


def _checked_url(name: str, field: str, value: str | None) -> str | None:
    url = _text(value)
    if url and urllib.parse.urlsplit(url).scheme == "http":
        raise DefinitionRejected(name, f'{field} "{url}" is not encrypted; write it with https')
    return url


def _checked_key(name: str, key: Secret) -> Secret:
    if "AccountKey=" in key.reveal():
        raise DefinitionRejected(
            name,
            "the account key is a whole connection string; "
            'give only what stands between "AccountKey=" and the next semicolon',
        )
    if "sig=" in key.reveal():
        raise DefinitionRejected(name, "the account key is a SAS; give it as sas_token")
    if not _is_base64(key):
        raise DefinitionRejected(
            name,
            "the account key is not base64; copy it again from the storage account's access keys",
        )
    return key


def _is_base64(key: Secret) -> bool:
    try:
        base64.b64decode(key.reveal(), validate=True)
    except ValueError:
        return False
    return True


def _checked_sas(name: str, token: Secret, now: float) -> Secret:
    if "SharedAccessSignature=" in token.reveal() or "AccountKey=" in token.reveal():
        raise DefinitionRejected(
            name,
            "the SAS is a whole connection string; "
            'give only what follows "SharedAccessSignature=", or the account key as account_key',
        )
    token = _query(token)
    if not _is_signed(token):
        remedy = (
            "it looks like an account key; give it as account_key"
            if _is_base64(token)
            else 'a SAS has the form "sv=...&se=...&sig=..."; copy all of it'
        )
        raise DefinitionRejected(name, f'the SAS has no signature ("sig="); {remedy}')
    expired = sas_expiry(token)
    if expired and expired <= datetime.fromtimestamp(now, UTC):
        raise CredentialExpired(name, expired, "create a new SAS and register it")
    return token


def _query(token: Secret) -> Secret:
    """The SAS alone, from a whole address or with its question mark."""
    return Secret(token.reveal().rpartition("?")[2] or token.reveal())


def _is_signed(token: Secret) -> bool:
    return "sig" in dict(urllib.parse.parse_qsl(token.reveal()))
