"""A workspace in each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from datastores.credentials.kinds import AccountKey
from datastores.definitions import BlobContainer
from datastores.names import DatastoreName, WorkspaceName
from datastores.registry.keys import KEY_VARIABLE, SOURCE_VARIABLE
from datastores.registry.records import WorkspaceRecord
from datastores.registry.registry import Registry
from datastores.secret import Secret
from tests.servers.postgres import PostgresServer

WORKSPACE = WorkspaceName("vision")
CANARY = "canary-Kx7/q+Zt0w=="


@dataclass(frozen=True, slots=True)
class Home:
    """Where a registry is in a test, and where its key file is."""

    address: str
    key_file: Path

    def open(self, *, create: bool = False, patience_seconds: float = 20.0) -> Registry:
        return Registry.open(self.address, create=create, patience_seconds=patience_seconds)


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (SOURCE_VARIABLE, KEY_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def sqlite_home(tmp_path: Path) -> Home:
    return Home(str(tmp_path / "home" / "registry.db"), tmp_path / "home" / "vault.key")


@pytest.fixture
def postgres_home(tmp_path: Path, postgres: PostgresServer) -> Home:
    return Home(postgres.url(postgres.database(), password=True), tmp_path / "vault.key")


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest) -> Home:
    found: Home = request.getfixturevalue(f"{request.param}_home")
    return found


@pytest.fixture
def registry(home: Home) -> Iterator[Registry]:
    """A registry with one workspace."""
    with home.open(create=True) as opened:
        opened.add_workspace(workspace(home))
        yield opened


def workspace(home: Home, name: str = WORKSPACE) -> WorkspaceRecord:
    return WorkspaceRecord(
        WorkspaceName(name),
        "subscription",
        "group",
        tags={"team": "eyes"},
        settings={"vault_key": f"file:{home.key_file}"},
    )


def blob(name: str = "images", account: str = "acct") -> BlobContainer:
    return BlobContainer(DatastoreName(name), "photos", account)


def key(text: str = CANARY) -> AccountKey:
    return AccountKey(Secret(text))
