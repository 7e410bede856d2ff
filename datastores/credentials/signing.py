"""Shared access signatures, made with an account key or by an identity that may delegate."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from datastores.credentials.forms import for_azure_sdk
from datastores.credentials.kinds import AccountKey, Credential, Sas
from datastores.credentials.service_sas import service_sas
from datastores.definitions import BlobContainer, DataLakeGen2, FileShare
from datastores.errors import CredentialRefused, DatastoresError, PermissionDenied, Unavailable
from datastores.secret import Secret, masked, redact
from datastores.value import Value

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.storage.blob import UserDelegationKey

_WAITS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 20, "retry_total": 3}


class Extent(enum.Enum):
    """What a signature covers."""

    WHOLE = "the whole container or share"
    DIRECTORY = "a directory and what is below"
    FILE = "one file"


class Grant(Value):
    """What a signature shall allow, where, and from when to when."""

    definition: BlobContainer | DataLakeGen2 | FileShare
    extent: Extent
    key: str
    permission: str
    starts: datetime
    ends: datetime


def signed_with_key(grant: Grant, credential: AccountKey) -> Sas:
    """A service SAS; no request is made."""
    if isinstance(grant.definition, FileShare):
        return _signed(grant, lambda: _file_share_sas(grant, credential.key))
    try:
        return Sas(_service_sas(grant, credential.key))
    except ValueError as error:
        reason = redact(str(error))
    # As below.
    raise _cannot_sign(grant, reason)


def signed_by_identity(grant: Grant, credential: Credential) -> Sas:
    """A user delegation SAS; one request gets the key for it.

    `PermissionDenied` when the identity may not delegate, whatever else it may do.
    """
    return signed_with_delegation(grant, delegation_key(grant, credential))


def signed_with_delegation(grant: Grant, key: UserDelegationKey) -> Sas:
    """A user delegation SAS with a key for at least its time."""
    return _signed(grant, lambda: _blob_sas(grant, user_delegation_key=key))


def _signed(grant: Grant, sign: Callable[[], str]) -> Sas:
    from azure.core.exceptions import AzureError

    try:
        return Sas(Secret(sign()))
    except (AzureError, ValueError) as error:
        reason = redact(str(error))
    # Outside the handler and without `from`: the frames below hold the key in their variables.
    raise _cannot_sign(grant, reason)


def _cannot_sign(grant: Grant, reason: str) -> CredentialRefused:
    return CredentialRefused(
        str(grant.definition.name),
        f"the key cannot sign: {reason}; copy it again from the storage account's access keys",
    )


def _service_sas(grant: Grant, key: Secret) -> Secret:
    is_whole = grant.extent is Extent.WHOLE
    terms = _terms(grant)
    return service_sas(
        grant.definition.account,
        grant.definition.container,
        key,
        path="" if is_whole else grant.key,
        depth=grant.key.count("/") + 1 if grant.extent is Extent.DIRECTORY else None,
        permission=terms["permission"],
        starts=terms["start"],
        ends=terms["expiry"],
        protocol=terms["protocol"],
    )


def _blob_sas(grant: Grant, **signer: Any) -> str:
    from azure.storage.blob import generate_blob_sas, generate_container_sas

    account, container = grant.definition.account, grant.definition.container
    if grant.extent is Extent.WHOLE:
        return generate_container_sas(account, container, **signer, **_terms(grant))
    directory: dict[str, Any] = {}
    if grant.extent is Extent.DIRECTORY:
        directory = {"is_directory": True, "sdd": grant.key.count("/") + 1}
    return generate_blob_sas(account, container, grant.key, **signer, **directory, **_terms(grant))


def _file_share_sas(grant: Grant, key: Secret) -> str:
    from azure.storage.fileshare import generate_file_sas, generate_share_sas

    account, share = grant.definition.account, grant.definition.container
    if grant.extent is Extent.FILE:
        path = grant.key.split("/")
        return generate_file_sas(account, share, path, key.reveal(), **_terms(grant))
    return generate_share_sas(account, share, key.reveal(), **_terms(grant))


def _terms(grant: Grant) -> dict[str, Any]:
    return {
        "permission": grant.permission,
        "start": grant.starts,
        "expiry": grant.ends,
        "protocol": "https,http" if grant.definition.account_url.is_plain_http else "https",
    }


def delegation_key(grant: Grant, credential: Credential) -> UserDelegationKey:
    """A key that signs for an identity, for the time of the grant; one request."""
    from azure.core.exceptions import AzureError
    from azure.storage.blob import BlobServiceClient

    definition = grant.definition
    store = str(definition.name)
    if definition.account_url.is_plain_http:
        raise CredentialRefused(
            store, "an identity is not sent over plain http; register the store with https"
        )
    sdk: Any = for_azure_sdk(credential, definition.account, store=store)
    try:
        with BlobServiceClient(definition.account_url.url, credential=sdk, **_WAITS) as client:
            return client.get_user_delegation_key(grant.starts, grant.ends)
    except AzureError as error:
        raise _translated(error, store) from masked(error)


def _translated(error: AzureError, store: str) -> DatastoresError:
    from azure.core.exceptions import HttpResponseError

    said = " ".join(redact(error.message).partition("RequestId")[0].split())
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status == 403:
        return PermissionDenied(
            store, detail=f"{said}; give the identity the role Storage Blob Delegator"
        )
    if status is None or status == 429 or status >= 500:
        return Unavailable(store, detail=f"{said}; try again")
    return CredentialRefused(
        store, f"{said}; check that the identity belongs to the tenant of the storage account"
    )
