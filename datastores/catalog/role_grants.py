"""`grant_workspace_access`: let the workspace's own identity read a storage account or server."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datastores.definitions import (
    BlobContainer,
    DataLakeGen1,
    DataLakeGen2,
    Definition,
    SqlDatabase,
)
from datastores.errors import CredentialError, DefinitionRejected, NotFound
from datastores.secret import Secret, redact

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace

log = logging.getLogger(__name__)

MANAGEMENT_VARIABLE = "DATASTORES_MANAGEMENT_URL"
PUBLIC_MANAGEMENT = "https://management.azure.com"

# Ids of Azure's built-in roles.
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
BLOB_DATA_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"

# Connect, and wait for an answer: Azure Resource Manager answers within seconds or not at all.
_PATIENCE = (5.0, 30.0)


def grant_workspace_access(
    workspace: Workspace, definition: Definition, *, bearer: Callable[[], Secret] | None = None
) -> None:
    """Give the workspace's identity the roles it needs; as in Azure ML, a refusal is a warning.

    The storage account or server that does not exist is an error.
    """
    identity = workspace.record().settings.get("primary_user_assigned_identity")
    if not identity:
        log.warning(
            'workspace "%s" has no identity of its own, so nothing was granted; create it with '
            "primary_user_assigned_identity, or give its users the role themselves",
            workspace.name,
        )
        return
    try:
        manager = _Manager(definition.name, bearer or _management_bearer(definition.name))
        principal = manager.principal(identity)
        present = manager.roles(_scope(definition), principal)
        for role in plan_roles(definition, present):
            manager.grant(_scope(definition), principal, role)
    except (_Refused, CredentialError) as error:
        log.warning('access to "%s" could not be granted: %s', definition.name, error)


def plan_roles(definition: Definition, present: set[str]) -> list[str]:
    """Which roles are missing."""
    needed = [READER]
    if isinstance(definition, BlobContainer | DataLakeGen2):
        needed.append(BLOB_DATA_READER)
    return [role for role in needed if role not in present]


def _scope(definition: Definition) -> str:
    match definition:
        case BlobContainer() | DataLakeGen2():
            kind, name = "Microsoft.Storage/storageAccounts", definition.account
        case DataLakeGen1():
            kind, name = "Microsoft.DataLakeStore/accounts", definition.store
        case SqlDatabase():
            kind, name = "Microsoft.Sql/servers", definition.server
        case _:
            raise DefinitionRejected(definition.name, "access cannot be granted to this kind")
    return (
        f"/subscriptions/{definition.subscription_id}/resourceGroups/{definition.resource_group}"
        f"/providers/{kind}/{name}"
    )


def _management_url() -> str:
    return os.environ.get(MANAGEMENT_VARIABLE, PUBLIC_MANAGEMENT).rstrip("/")


def _management_bearer(name: str) -> Callable[[], Secret]:
    from datastores.credentials.kinds import Identity
    from datastores.credentials.tokens import bearer

    return bearer(Identity(), f"{PUBLIC_MANAGEMENT}/.default", store=name)


class _Refused(Exception):
    """Azure Resource Manager did not do it."""


class _Manager:
    """The three requests to Azure Resource Manager that granting takes."""

    def __init__(self, name: str, bearer: Callable[[], Secret]) -> None:
        self._name, self._bearer = name, bearer

    def principal(self, identity: str) -> str:
        """Who a user-assigned identity is, from its address."""
        answer = self._ask("GET", identity, "2023-01-31")
        return str(answer["properties"]["principalId"])

    def roles(self, scope: str, principal: str) -> set[str]:
        """Ids of the roles that somebody has on a resource."""
        try:
            answer = self._ask(
                "GET",
                f"{scope}/providers/Microsoft.Authorization/roleAssignments",
                "2015-07-01",
                {"$filter": f"principalId eq '{principal}'"},
            )
        except _Refused as error:
            # Not being allowed to look does not mean not being allowed to grant.
            log.warning('roles on "%s" cannot be seen: %s', self._name, error)
            return set()
        found = (one["properties"]["roleDefinitionId"] for one in answer.get("value", ()))
        return {str(role).rpartition("/")[2] for role in found}

    def grant(self, scope: str, principal: str, role: str) -> None:
        """Give a role; the id is derived from its parts, so giving it twice is one assignment."""
        assignment = uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}/{principal}/{role}")
        subscription = "/".join(scope.split("/")[:3])
        definition = f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"
        self._ask(
            "PUT",
            f"{scope}/providers/Microsoft.Authorization/roleAssignments/{assignment}",
            "2018-07-01",
            body={"properties": {"roleDefinitionId": definition, "principalId": principal}},
        )

    def _ask(
        self,
        method: str,
        path: str,
        version: str,
        query: dict[str, str] | None = None,
        body: Any = None,
    ) -> Any:
        import requests

        try:
            answer = requests.request(
                method,
                _management_url() + path,
                params={"api-version": version, **(query or {})},
                json=body,
                headers={"Authorization": f"Bearer {self._bearer().reveal()}"},
                timeout=_PATIENCE,
            )
        except requests.RequestException as error:
            raise _Refused(redact(str(error))) from error
        if answer.status_code == 404:
            raise NotFound(self._name, None, f"Azure knows no {path}; check subscription and group")
        if answer.status_code == 409:  # the assignment exists under another id
            return {}
        if not answer.ok:
            raise _Refused(f"HTTP {answer.status_code}: {redact(answer.text[:300])}")
        return answer.json()
