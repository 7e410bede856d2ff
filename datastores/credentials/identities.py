"""Which identities a credential may stand for, in the order they are tried."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from datastores.credentials.kinds import (
    Credential,
    DeveloperLogin,
    Identity,
    ManagedIdentity,
    ServicePrincipal,
    WorkloadIdentity,
)
from datastores.value import Value

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

# azure-core would wait five minutes for a connection and as long for an answer.
_BOUNDS = {"connection_timeout": 10, "read_timeout": 20, "retry_total": 2}
# The metadata service is one hop away, or absent.
_NEAR_BOUNDS = {"connection_timeout": 2, "read_timeout": 10, "retry_total": 3}
_PROCESS_SECONDS = 15

_WORKLOAD_VARIABLES = ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID")


class Candidate(Value):
    """One identity: its name for people, what to do when it fails, and how to open it.

    Opening raises `CredentialUnavailableError` when the identity is absent, and `ValueError` when
    it is described in a way that cannot be.
    """

    name: str
    remedy: str
    open: Callable[[], TokenCredential]


def candidates(credential: Credential, **pipeline: Any) -> Sequence[Candidate]:
    """The identities to try, first one first; none for kinds that are no identity.

    `pipeline` goes to azure-identity's own HTTP pipeline, over the bounds set here.
    """
    match credential:
        case ServicePrincipal():
            return [_service_principal(credential, pipeline)]
        case ManagedIdentity():
            return [_managed_identity(credential.client_id, pipeline)]
        case WorkloadIdentity():
            return [_workload_identity(credential, pipeline)]
        case DeveloperLogin():
            return _developer_logins()
        case Identity():
            return [
                *([_workload_identity(WorkloadIdentity(), pipeline)] if _in_workload() else []),
                _managed_identity(os.environ.get("AZURE_CLIENT_ID"), pipeline),
                *_developer_logins(),
            ]
        case _:
            return []


def _service_principal(principal: ServicePrincipal, pipeline: dict[str, Any]) -> Candidate:
    def opened() -> TokenCredential:
        from azure.identity import ClientSecretCredential

        authority = authority_of(principal)
        return ClientSecretCredential(
            principal.tenant_id,
            principal.client_id,
            principal.client_secret.reveal(),
            # An authority that somebody wrote down is meant; asking Microsoft's public cloud
            # whether it exists fails in private ones.
            **({"authority": authority, "disable_instance_discovery": True} if authority else {}),
            **{**_BOUNDS, **pipeline},
        )

    return Candidate(
        f'service principal "{principal.client_id}" of tenant "{principal.tenant_id}"',
        "check its tenant, id and secret, and register the datastore again",
        opened,
    )


def authority_of(principal: ServicePrincipal) -> str | None:
    """The authority without the tenant that some portals append to it."""
    if not principal.authority_url:
        return None
    authority = principal.authority_url.rstrip("/").removesuffix("/oauth2/token")
    return authority.removesuffix(f"/{principal.tenant_id}").rstrip("/")


def _managed_identity(client_id: str | None, pipeline: dict[str, Any]) -> Candidate:
    def opened() -> TokenCredential:
        from azure.identity import ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=client_id, **{**_NEAR_BOUNDS, **pipeline})

    return Candidate(
        f'managed identity "{client_id}"' if client_id else "managed identity of this machine",
        "assign an identity to this machine and give it a role on the storage account",
        opened,
    )


def _workload_identity(workload: WorkloadIdentity, pipeline: dict[str, Any]) -> Candidate:
    def opened() -> TokenCredential:
        from azure.identity import CredentialUnavailableError, WorkloadIdentityCredential

        try:
            return WorkloadIdentityCredential(
                tenant_id=workload.tenant_id,
                client_id=workload.client_id,
                token_file_path=workload.token_file,
                **{**_BOUNDS, **pipeline},
            )
        except ValueError as error:
            raise CredentialUnavailableError(str(error)) from error

    client_id = workload.client_id or os.environ.get("AZURE_CLIENT_ID")
    return Candidate(
        f'workload identity "{client_id}"' if client_id else "workload identity",
        f"set {', '.join(_WORKLOAD_VARIABLES[:-1])} and {_WORKLOAD_VARIABLES[-1]} for this process",
        opened,
    )


def _in_workload() -> bool:
    return all(os.environ.get(name) for name in _WORKLOAD_VARIABLES)


def _developer_logins() -> list[Candidate]:
    def cli() -> TokenCredential:
        from azure.identity import AzureCliCredential

        return AzureCliCredential(process_timeout=_PROCESS_SECONDS)

    def developer_cli() -> TokenCredential:
        from azure.identity import AzureDeveloperCliCredential

        return AzureDeveloperCliCredential(process_timeout=_PROCESS_SECONDS)

    def powershell() -> TokenCredential:
        from azure.identity import AzurePowerShellCredential

        return AzurePowerShellCredential(process_timeout=_PROCESS_SECONDS)

    return [
        Candidate("Azure CLI", 'run "az login"', cli),
        Candidate("Azure Developer CLI", 'run "azd auth login"', developer_cli),
        Candidate("Azure PowerShell", 'run "Connect-AzAccount"', powershell),
    ]
