"""Granting access: Azure Resource Manager is asked for what is missing, and for no more."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from datastores import Datastore, Workspace
from datastores.catalog.role_grants import (
    BLOB_DATA_READER,
    MANAGEMENT_VARIABLE,
    READER,
    grant_workspace_access,
    plan_roles,
)
from datastores.definitions import BlobContainer, SqlDatabase
from datastores.errors import DefinitionRejected, NotFound
from datastores.names import DatastoreName
from datastores.secret import Secret
from tests.servers.files_listener import Listener

IDENTITY = (
    "/subscriptions/s/resourceGroups/r/providers"
    "/Microsoft.ManagedIdentity/userAssignedIdentities/me"
)
ACCOUNT = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Storage/storageAccounts/acct"
BLOB = BlobContainer(DatastoreName("images"), "c", "acct", subscription_id="s", resource_group="r")


class Manager:
    """What Azure Resource Manager knows and was asked."""

    def __init__(self) -> None:
        self.roles: list[str] = []
        self.puts: list[tuple[str, Any]] = []
        self.refuses: dict[str, int] = {}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method in self.refuses:
            return self.refuses[method], {"error": {"code": "AuthorizationFailed"}}
        if path.startswith(IDENTITY):
            return 200, {"properties": {"principalId": "principal"}}
        if method == "GET":
            found = [
                {"properties": {"roleDefinitionId": f"/x/roleDefinitions/{role}"}}
                for role in self.roles
            ]
            return 200, {"value": found}
        self.puts.append((path.partition("?")[0], body))
        return 201, {}


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A local Azure Resource Manager that checks the bearer token."""
    state = Manager()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PUT(self) -> None:
            size = int(self.headers["Content-Length"])
            self._answer(json.loads(self.rfile.read(size)))

        def _answer(self, body: Any) -> None:
            status, found = state.answer(self.command, self.path, body)
            if self.headers["Authorization"] != "Bearer t0ken":
                status, found = 401, {}
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    with Listener(Handler) as server:
        monkeypatch.setenv(MANAGEMENT_VARIABLE, server.address)
        yield state


@pytest.fixture
def owned(home: object) -> Iterator[Workspace]:
    """A workspace that has an identity of its own."""
    assert home
    made = Workspace.create("owned", show_output=False, primary_user_assigned_identity=IDENTITY)
    yield made
    made.close()


def bearer() -> Secret:
    return Secret("t0ken")


def test_missing_roles_are_granted_once(owned: Workspace, manager: Manager) -> None:
    """Reader and blob reader are assigned to the workspace's identity on the account."""
    grant_workspace_access(owned, BLOB, bearer=bearer)
    first = list(manager.puts)
    grant_workspace_access(owned, BLOB, bearer=bearer)

    assert [body["properties"] for _, body in first] == [
        {
            "roleDefinitionId": f"/subscriptions/s/providers/Microsoft.Authorization"
            f"/roleDefinitions/{role}",
            "principalId": "principal",
        }
        for role in (READER, BLOB_DATA_READER)
    ]
    assert all(path.startswith(ACCOUNT) for path, _ in first)
    assert [path for path, _ in manager.puts[2:]] == [path for path, _ in first]


def test_present_roles_are_left_alone(owned: Workspace, manager: Manager) -> None:
    """What the identity has already is not assigned again."""
    manager.roles = [READER]

    grant_workspace_access(owned, BLOB, bearer=bearer)

    assert len(manager.puts) == 1
    assert plan_roles(SqlDatabase(DatastoreName("sql"), "s", "d"), {READER}) == []


def test_a_refusal_is_a_warning(
    owned: Workspace, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may not grant still registers; the log says what was refused."""
    manager.refuses = {"PUT": 403}

    with caplog.at_level(logging.WARNING):
        grant_workspace_access(owned, BLOB, bearer=bearer)

    assert "could not be granted: HTTP 403" in caplog.text
    assert "t0ken" not in caplog.text


def test_a_storage_account_that_is_not_there_is_an_error(
    owned: Workspace, manager: Manager
) -> None:
    """A wrong subscription or group is named and not granted into the void."""
    manager.refuses = {"GET": 404}

    with pytest.raises(NotFound, match="check subscription and group"):
        grant_workspace_access(owned, BLOB, bearer=bearer)


def test_a_workspace_without_identity_says_so(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be granted to nobody, and the log tells how to have somebody."""
    with caplog.at_level(logging.WARNING):
        grant_workspace_access(workspace, BLOB)

    assert "has no identity of its own" in caplog.text


def test_granting_needs_the_accounts_coordinates(workspace: Workspace) -> None:
    """Azure cannot find an account by its name alone; both halves of its address are asked for."""
    for given, missing in ((None, "subscription_id"), ("s", "resource_group")):
        with pytest.raises(DefinitionRejected, match=missing):
            Datastore.register_azure_blob_container(
                workspace,
                "images",
                "c",
                "acct",
                grant_workspace_access=True,
                subscription_id=given,
                skip_validation=True,
            )
