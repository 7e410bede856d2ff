"""A database of its own for each test, and an engine on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, QueuePool

from datastores.credentials.kinds import Login
from datastores.definitions import MySql, PostgreSql
from datastores.names import DatastoreName
from datastores.storage.rows.engine import open_engine
from tests.servers.mariadb import MariaDbServer
from tests.servers.postgres import PostgresServer

NAME = DatastoreName("warehouse")


def checked_out(engine: Engine) -> int:
    """How many connections are in somebody's hands."""
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


@dataclass(frozen=True, slots=True)
class Place:
    """A fresh database and the owner's login."""

    server: PostgresServer
    definition: PostgreSql
    login: Login

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        return self.server.execute(self.definition.database, *statements)


@pytest.fixture
def place(postgres: PostgresServer) -> Place:
    definition = PostgreSql(NAME, postgres.host, postgres.database(), port=postgres.port)
    return Place(postgres, definition, Login(postgres.user, postgres.password))


@pytest.fixture
def engine(place: Place) -> Iterator[Engine]:
    engine = open_engine(place.definition, place.login)
    yield engine
    engine.dispose()


@dataclass(frozen=True, slots=True)
class MySqlPlace:
    """A fresh database of MariaDB and the owner's login."""

    server: MariaDbServer
    definition: MySql
    login: Login

    def execute(self, *statements: str) -> None:
        self.server.execute(self.definition.database, *statements)


@pytest.fixture
def mysql_place(mariadb: MariaDbServer, monkeypatch: pytest.MonkeyPatch) -> MySqlPlace:
    monkeypatch.setenv("SSL_CERT_FILE", str(mariadb.certificate))
    definition = MySql(NAME, mariadb.host, mariadb.database(), port=mariadb.port)
    return MySqlPlace(mariadb, definition, Login(mariadb.user, mariadb.password))


@pytest.fixture
def mysql_engine(mysql_place: MySqlPlace) -> Iterator[Engine]:
    engine = open_engine(mysql_place.definition, mysql_place.login)
    yield engine
    engine.dispose()
