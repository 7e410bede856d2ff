"""Plans of connections, and the calls that follow them at the driver's border."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from datastores.credentials.forms import DatabaseLogin
from datastores.credentials.kinds import Login
from datastores.definitions import MySql, PostgreSql, SqlDatabase
from datastores.errors import (
    CredentialMissing,
    CredentialRefused,
    DatastoresError,
    DefinitionRejected,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.contract import Patience
from datastores.storage.rows.connecting import connect
from datastores.storage.rows.engine import check
from datastores.storage.rows.failures import translate
from datastores.storage.rows.plan import ConnectionPlan, Driver, Options, plan_connection

NAME = DatastoreName("warehouse")
LOGIN = DatabaseLogin("ann", Secret("p;w}d={x}-canary"))
TOKENS = DatabaseLogin("app-id", access_token=lambda: Secret("eyJ-token"))
PATIENCE = Patience(connect_seconds=4.5, read_seconds=20, total_seconds=90)


def test_postgresql() -> None:
    """PostgreSQL is reached over TLS, with bounded waits, and without the password in the plan."""
    plan = plan_connection(
        PostgreSql(NAME, "pg1", "sales"), LOGIN, PATIENCE, Options(statement_seconds=1.5)
    )

    assert plan == ConnectionPlan(
        store="warehouse",
        driver=Driver.PSYCOPG2,
        drivername="postgresql+psycopg2",
        host="pg1.postgres.database.azure.com",
        port=5432,
        database="sales",
        username="ann",
        takes_token=False,
        enforce_ssl=True,
        arguments={
            "host": "pg1.postgres.database.azure.com",
            "port": 5432,
            "dbname": "sales",
            "user": "ann",
            "connect_timeout": 5,
            "keepalives": 1,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 20000,
            "application_name": "datastores",
            "client_encoding": "utf8",
            "sslmode": "require",
            "options": "-c statement_timeout=1500",
        },
    )


@pytest.mark.parametrize(
    ("enforce_ssl", "root", "want"),
    [
        (True, None, {"sslmode": "require"}),
        (True, "system", {"sslmode": "verify-full", "sslrootcert": "system"}),
        (False, "system", {"sslmode": "prefer"}),
    ],
)
def test_postgresql_tls(enforce_ssl: bool, root: str | None, want: dict[str, str]) -> None:
    """A configured root certificate turns on full verification; only `enforce_ssl` turns TLS off."""
    options = Options.from_environment({"PGSSLROOTCERT": root} if root else {})
    definition = PostgreSql(NAME, "pg1", "sales", enforce_ssl=enforce_ssl)

    arguments = plan_connection(definition, LOGIN, PATIENCE, options).arguments

    assert {name: arguments[name] for name in arguments if name.startswith("ssl")} == want


def test_mysql() -> None:
    """MySQL's waits are bounded, and it may not ask this machine for files."""
    plan = plan_connection(MySql(NAME, "db.example.org:3307", "sales"), LOGIN, PATIENCE)

    assert (plan.driver, plan.enforce_ssl, plan.arguments) == (
        Driver.PYMYSQL,
        True,
        {
            "host": "db.example.org",
            "port": 3307,
            "database": "sales",
            "user": "ann",
            "connect_timeout": 5,
            "read_timeout": 90,
            "write_timeout": 20,
            "charset": "utf8mb4",
            "program_name": "datastores",
            "local_infile": False,
        },
    )


def test_no_secret_in_a_plan() -> None:
    """The text of a plan holds no password, for any kind of database."""
    for kind in (PostgreSql, MySql, SqlDatabase):
        assert "canary" not in repr(plan_connection(kind(NAME, "s", "d"), LOGIN))


@pytest.mark.parametrize("kind", [PostgreSql, MySql, SqlDatabase])
def test_tokens_need_tls(kind: type[PostgreSql | MySql | SqlDatabase]) -> None:
    """A token is never sent in the clear."""
    with pytest.raises(DefinitionRejected, match="enforce_ssl=True"):
        plan_connection(kind(NAME, "s", "d", enforce_ssl=False), TOKENS)


@pytest.mark.parametrize("kind", [PostgreSql, MySql, SqlDatabase])
def test_nobody(kind: type[PostgreSql | MySql | SqlDatabase]) -> None:
    """Without a user and without a token there is nobody to log in."""
    with pytest.raises(CredentialMissing):
        plan_connection(kind(NAME, "s", "d"), DatabaseLogin())


class OdbcError(Exception):
    """What pyodbc raises: a state and a text."""


class FakeConnection:
    timeout: int | None = None


class FakeCursor:
    nextset = None


class FakeOdbc:
    """As much of pyodbc as connecting touches."""

    Error = OdbcError
    Cursor = FakeCursor
    paramstyle = "qmark"
    version = "5.2.0"

    def __init__(self, failure: Exception | None = None, drivers: list[str] | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._failure = failure
        self._drivers = drivers
        self.connection = FakeConnection()

    def drivers(self) -> list[str]:
        if self._drivers is not None:
            return self._drivers
        return ["ODBC Driver 9 for SQL Server", "ODBC Driver 18 for SQL Server", "SQLite3"]

    def connect(self, text: str, **arguments: Any) -> FakeConnection:
        self.calls.append((text, arguments))
        if self._failure:
            raise self._failure
        return self.connection


SQL = SqlDatabase(NAME, "srv1", "sales")


def test_sql_server_with_a_password() -> None:
    """The newest driver is told to encrypt and verify, and a password cannot break out of its
    braces.
    """
    odbc = FakeOdbc()
    plan = plan_connection(SQL, LOGIN, PATIENCE, Options(statement_seconds=7))

    connection = connect(plan, SQL, LOGIN, odbc)

    assert (odbc.calls, connection.timeout) == (
        [
            (
                (
                    "Server={tcp:srv1.database.windows.net,1433};Database={sales};Encrypt={yes};"
                    "TrustServerCertificate={no};KeepAlive={30};KeepAliveInterval={10};"
                    "APP={datastores};UID={ann};Driver={ODBC Driver 18 for SQL Server};"
                    "PWD={p;w}}d={x}}-canary}"
                ),
                {"timeout": 5, "attrs_before": {}},
            )
        ],
        7,
    )


def test_sql_server_with_tokens() -> None:
    """Each connection asks for a token and hands it over in the driver's own form."""
    tokens = iter(["first", "second"])
    login = DatabaseLogin("app-id", access_token=lambda: Secret(next(tokens)))
    odbc = FakeOdbc()
    plan = plan_connection(SQL, login, PATIENCE, Options(odbc_driver="FreeTDS"))

    connect(plan, SQL, login, odbc)
    connect(plan, SQL, login, odbc)

    text = (
        "Server={tcp:srv1.database.windows.net,1433};Database={sales};Encrypt={yes};"
        "TrustServerCertificate={no};KeepAlive={30};KeepAliveInterval={10};"
        "APP={datastores};Driver={FreeTDS}"
    )
    assert odbc.calls == [
        (text, {"timeout": 5, "attrs_before": {1256: struct.pack("<I", 10) + b"f\0i\0r\0s\0t\0"}}),
        (
            text,
            {"timeout": 5, "attrs_before": {1256: struct.pack("<I", 12) + b"s\0e\0c\0o\0n\0d\0"}},
        ),
    ]


def test_no_odbc_driver() -> None:
    """Without a driver for SQL Server the sentence says what to install."""
    with pytest.raises(Unsupported, match="msodbcsql18"):
        connect(plan_connection(SQL, LOGIN), SQL, LOGIN, FakeOdbc(drivers=["SQLite3"]))


def test_an_unreachable_sql_server_is_one_line() -> None:
    """`check` turns the driver's paragraph into one line that names host and port."""
    text = (
        "[08001] [Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x2AF9 "
        "(11001) (SQLDriverConnect)\nmore about p;w}d={x}-canary"
    )
    odbc = FakeOdbc(OdbcError("08001", text))

    with pytest.raises(Unavailable) as unreachable:
        check(SQL, Login("ann", Secret("p;w}d={x}-canary")), PATIENCE, module=odbc)

    sentence = str(unreachable.value)
    assert "srv1.database.windows.net:1433" in sentence
    assert ("\n" in sentence, "canary" in sentence) == (False, False)


@pytest.mark.parametrize(
    ("state", "text", "want", "key"),
    [
        ("28000", "Login failed for user 'ann'. (18456)", CredentialRefused, None),
        ("42000", 'Cannot open database "sales" requested. (4060)', NotFound, "sales"),
        ("42S02", "Invalid object name 'dbo.t'. (208)", NotFound, "dbo.t"),
        (
            "42000",
            "The SELECT permission was denied on the object 't' (229)",
            PermissionDenied,
            "t",
        ),
        (
            "42000",
            "Client with IP address '1.2.3.4' is not allowed. (40615)",
            PermissionDenied,
            None,
        ),
        ("42000", "Incorrect syntax near 'x'. (102)", DefinitionRejected, None),
        ("HYT00", "Login timeout expired (0)", Unavailable, None),
        ("40001", "deadlock victim (1205)", Unavailable, None),
        ("08001", "SSL Provider: certificate verify failed", DefinitionRejected, None),
    ],
)
def test_errors_of_sql_server(
    state: str, text: str, want: type[DatastoresError], key: str | None
) -> None:
    """Each failure of SQL Server that a person can act on has its class, and the thing's name."""
    error = translate(OdbcError(state, f"[{state}] [Microsoft]{text}"), SQL)

    assert (type(error), getattr(error, "key", None)) == (want, key)
