"""The narrowest credential that does a job, for a while: account keys stay at home."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from datastores.credentials.expiry import sas_expiry
from datastores.credentials.forms import (
    ENTRA_KINDS,
    OPEN_SOURCE_DATABASE_SCOPE,
    SQL_SCOPE,
    STORAGE_SCOPE,
    described,
)
from datastores.credentials.kinds import AccountKey, Anonymous, Credential, Sas, Token
from datastores.credentials.signing import Extent, Grant, signed_by_identity, signed_with_key
from datastores.credentials.tokens import token_credential
from datastores.definitions import (
    BlobContainer,
    DataLakeGen1,
    DataLakeGen2,
    Definition,
    FileShare,
    MySql,
    PostgreSql,
    SqlDatabase,
)
from datastores.errors import CredentialExpired, DefinitionRejected, PermissionDenied
from datastores.keys import parse_place
from datastores.secret import Secret
from datastores.value import Value

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

GEN1_SCOPE = "https://datalake.azure.net/.default"

_SCOPES: dict[type[Definition], str] = {
    BlobContainer: STORAGE_SCOPE,
    DataLakeGen2: STORAGE_SCOPE,
    FileShare: STORAGE_SCOPE,
    DataLakeGen1: GEN1_SCOPE,
    SqlDatabase: SQL_SCOPE,
    PostgreSql: OPEN_SOURCE_DATABASE_SCOPE,
    MySql: OPEN_SOURCE_DATABASE_SCOPE,
}

# Clocks of nodes and services differ; Azure advises a quarter of an hour.
SKEW_SECONDS = 900.0

# Azure's own ceiling for a user delegation key.
LONGEST_DELEGATION_SECONDS = 7 * 24 * 3600.0

# A third of the lifetime is left for renewals that fail.
RENEWED_AFTER = 2 / 3


class Access(enum.Enum):
    """What a job does with the data.

    Azure answers "is it there?" and "which blocks have arrived?" only to readers, so a lease for
    writing can read as well.
    """

    READ = "read"
    WRITE = "write"
    READ_WRITE = "read and write"


class Lease(Value):
    """A credential for a job, what it is good for, and when to ask for the next.

    `expires_at` and `renew_at` are None when the credential has no end that anybody knows. `note`
    says why a lease that was not narrowed is wider than what was asked for, or what it covers.
    """

    credential: Credential
    prefix: str
    access: Access
    expires_at: float | None
    renew_at: float | None
    narrowed: bool
    note: str = ""


class _Wish(Value):
    """What a job asks for."""

    prefix: str
    access: Access
    is_file: bool
    now: float
    ends: float


def lease(
    definition: Definition,
    credential: Credential,
    *,
    prefix: str,
    access: Access,
    lifetime_seconds: float,
    is_file: bool = False,
    now: Callable[[], float] = time.time,
) -> Lease:
    """The least that opens `prefix` for `access`; it may end earlier than asked, never later.

    What cannot be narrowed is passed on as it is, with `narrowed` False and the reason in `note`.
    """
    if not lifetime_seconds > 0:
        raise DefinitionRejected(
            definition.name, f"a lease of {lifetime_seconds} seconds is none; give a positive time"
        )
    moment = now()
    wish = _Wish(parse_place(prefix), access, is_file, moment, moment + lifetime_seconds)
    match definition, credential:
        case _, Sas():
            return _own_sas(definition, credential, wish)
        case ((BlobContainer() | DataLakeGen2() | FileShare()), AccountKey()):
            grant = _grant(definition, wish, wish.ends)
            return _narrowed(signed_with_key(grant, credential), grant, wish)
        case ((BlobContainer() | DataLakeGen2()), _) if isinstance(credential, ENTRA_KINDS):
            return _delegated(definition, credential, wish)
        case _, _ if isinstance(credential, ENTRA_KINDS) and type(definition) in _SCOPES:
            note = "the service has no narrower form than the identity's own token"
            return _own_token(definition, credential, wish, note)
        case _, Anonymous():
            return Lease(credential, wish.prefix, access, None, None, narrowed=False)
        case _:
            note = f"there is no narrower form of {described(credential)}"
            return Lease(credential, wish.prefix, access, None, None, narrowed=False, note=note)


def _own_sas(definition: Definition, credential: Sas, wish: _Wish) -> Lease:
    ends = sas_expiry(credential.token)
    if ends and ends.timestamp() <= wish.now:
        raise CredentialExpired(definition.name, ends, "create a new SAS and register it")
    note = "a SAS cannot be narrowed, so it is passed on with its own rights and its own end"
    return _unnarrowed(credential, ends.timestamp() if ends else None, wish, note)


def _delegated(
    definition: BlobContainer | DataLakeGen2, credential: Credential, wish: _Wish
) -> Lease:
    ends = min(wish.ends, wish.now + LONGEST_DELEGATION_SECONDS)
    grant = _grant(definition, wish, ends)
    try:
        return _narrowed(signed_by_identity(grant, credential), grant, wish)
    except PermissionDenied as error:
        note = f"the identity may not delegate, so its own token is passed on: {error.detail}"
        return _own_token(definition, credential, wish, note)


def _own_token(definition: Definition, credential: Credential, wish: _Wish, note: str) -> Lease:
    tokens = token_credential(credential, store=definition.name)
    token = _kept(
        tokens.get_token(_SCOPES[type(definition)]),
        # Databases ask whom the token logs in.
        getattr(credential, "client_id", None) if definition.holds == "rows" else None,
    )
    return _unnarrowed(token, token.expires_at, wish, note)


def _kept(token: AccessToken, username: str | None) -> Token:
    return Token(Secret(token.token), float(token.expires_on), username)


def _unnarrowed(credential: Credential, expires_at: float | None, wish: _Wish, note: str) -> Lease:
    ends = wish.ends if expires_at is None else min(wish.ends, expires_at)
    return Lease(
        credential,
        wish.prefix,
        wish.access,
        expires_at,
        _renew_at(wish.now, ends),
        narrowed=False,
        note=note,
    )


def _narrowed(credential: Sas, grant: Grant, wish: _Wish) -> Lease:
    ends = grant.ends.timestamp()
    return Lease(
        credential,
        wish.prefix,
        wish.access,
        ends,
        _renew_at(wish.now, ends),
        narrowed=True,
        note=_coverage(grant, wish),
    )


def _renew_at(now: float, ends: float) -> float:
    return now + (ends - now) * RENEWED_AFTER


def _coverage(grant: Grant, wish: _Wish) -> str:
    if grant.extent is not Extent.WHOLE or not wish.prefix:
        return ""
    return (
        f'the service signs for whole containers and shares or single files: "{wish.prefix}" '
        f'is opened together with everything else in "{grant.definition.container}"'
    )


def _grant(definition: BlobContainer | DataLakeGen2 | FileShare, wish: _Wish, ends: float) -> Grant:
    extent = _extent(definition, wish)
    return Grant(
        definition,
        extent,
        wish.prefix,
        _permission(definition, extent, wish.access),
        datetime.fromtimestamp(int(wish.now - SKEW_SECONDS), UTC),
        # A SAS counts whole seconds, and what the lease tells is what was signed.
        datetime.fromtimestamp(int(ends), UTC),
    )


def _extent(definition: Definition, wish: _Wish) -> Extent:
    if not wish.prefix:
        return Extent.WHOLE
    if wish.is_file:
        return Extent.FILE
    return Extent.DIRECTORY if isinstance(definition, DataLakeGen2) else Extent.WHOLE


def _permission(definition: Definition, extent: Extent, access: Access) -> str:
    """The letters of a SAS, in the order that the service insists on."""
    reads = access is Access.READ
    letters = "r" if reads else "rcwd" if isinstance(definition, FileShare) else "racwd"
    if extent is not Extent.FILE:
        letters += "l"
        if isinstance(definition, DataLakeGen2) and not reads:
            letters += "m"
    return letters
