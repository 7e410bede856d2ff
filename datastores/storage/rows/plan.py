"""How to reach a database: decided here without touching it, and without its secret."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

from datastores.credentials.forms import DatabaseLogin
from datastores.definitions import MySql, PostgreSql, SqlDatabase
from datastores.errors import CredentialMissing, DefinitionRejected
from datastores.storage.contract import Patience
from datastores.value import Value, field

Database = PostgreSql | MySql | SqlDatabase


class Driver(enum.Enum):
    """The DBAPI module that speaks to the server."""

    PSYCOPG2 = "psycopg2"
    PYMYSQL = "pymysql"
    PYODBC = "pyodbc"


class Options(Value):
    """What a machine or a caller may set about every connection."""

    # A file, or "system" for the machine's own roots; with it PostgreSQL's name is verified too.
    root_certificate: str | None = None
    odbc_driver: str | None = None
    # How long one statement may run; None leaves it to the server.
    statement_seconds: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Options:
        """`PGSSLROOTCERT`, as libpq knows it, and `DATASTORES_ODBC_DRIVER`."""
        return cls(
            root_certificate=environment.get("PGSSLROOTCERT") or None,
            odbc_driver=environment.get("DATASTORES_ODBC_DRIVER") or None,
        )


class ConnectionPlan(Value):
    """Driver, place and arguments of a connection; the secret is added when it is opened."""

    store: str
    driver: Driver
    drivername: str
    host: str
    port: int
    database: str
    username: str | None
    takes_token: bool
    enforce_ssl: bool
    arguments: Mapping[str, object] = field(default_factory=dict)


def plan_connection(
    definition: Database,
    login: DatabaseLogin,
    patience: Patience | None = None,
    options: Options | None = None,
) -> ConnectionPlan:
    """The plan for this database and login; a combination that leaks or cannot work is refused."""
    patience, options = patience or Patience(), options or Options()
    if login.access_token is not None and not definition.enforce_ssl:
        raise DefinitionRejected(
            definition.name, "a token travels only inside TLS; register it with enforce_ssl=True"
        )
    match definition:
        case PostgreSql():
            return _plan_postgresql(definition, login, patience, options)
        case MySql():
            return _plan_mysql(definition, login, patience)
        case SqlDatabase():
            return _plan_sql_server(definition, login, patience, options)


def _plan_postgresql(
    definition: PostgreSql, login: DatabaseLogin, patience: Patience, options: Options
) -> ConnectionPlan:
    arguments: dict[str, object] = {
        "host": definition.host,
        "port": definition.tcp_port,
        "dbname": definition.database,
        "user": _required_user(definition, login),
        # libpq takes whole seconds and raises 1 to 2 by itself.
        "connect_timeout": max(2, math.ceil(patience.connect_seconds)),
        "keepalives": 1,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": math.ceil(patience.read_seconds * 1000),
        "application_name": "datastores",
        "client_encoding": "utf8",
        **_postgresql_tls(definition, options),
    }
    if options.statement_seconds is not None:
        milliseconds = math.ceil(options.statement_seconds * 1000)
        arguments["options"] = f"-c statement_timeout={milliseconds}"
    return _plan(Driver.PSYCOPG2, "postgresql+psycopg2", definition, login, arguments)


def _postgresql_tls(definition: PostgreSql, options: Options) -> dict[str, object]:
    if not definition.enforce_ssl:
        return {"sslmode": "prefer"}
    if options.root_certificate is None:
        return {"sslmode": "require"}
    return {"sslmode": "verify-full", "sslrootcert": options.root_certificate}


def _plan_mysql(definition: MySql, login: DatabaseLogin, patience: Patience) -> ConnectionPlan:
    arguments: dict[str, object] = {
        "host": definition.host,
        "port": definition.tcp_port,
        "database": definition.database,
        "user": _required_user(definition, login),
        "connect_timeout": max(1, math.ceil(patience.connect_seconds)),
        # The longest silence: a query that thinks before its first row is silent all that time.
        "read_timeout": math.ceil(patience.total_seconds),
        "write_timeout": math.ceil(patience.read_seconds),
        "charset": "utf8mb4",
        "program_name": "datastores",
        "local_infile": False,
    }
    if not definition.enforce_ssl:
        arguments["ssl_disabled"] = True
    return _plan(Driver.PYMYSQL, "mysql+pymysql", definition, login, arguments)


def _plan_sql_server(
    definition: SqlDatabase, login: DatabaseLogin, patience: Patience, options: Options
) -> ConnectionPlan:
    keywords: dict[str, object] = {
        "Server": f"tcp:{definition.host},{definition.tcp_port}",
        "Database": definition.database,
        "Encrypt": "yes" if definition.enforce_ssl else "no",
        "TrustServerCertificate": "no",
        "KeepAlive": "30",
        "KeepAliveInterval": "10",
        "APP": "datastores",
    }
    if options.odbc_driver is not None:
        keywords["Driver"] = options.odbc_driver
    if login.password is not None:
        keywords["UID"] = _required_user(definition, login)
    elif login.access_token is None:
        raise _no_login(definition)
    arguments: dict[str, object] = {
        "keywords": keywords,
        "timeout": max(1, math.ceil(patience.connect_seconds)),
        "statement_seconds": math.ceil(options.statement_seconds or 0),
    }
    return _plan(Driver.PYODBC, "mssql+pyodbc", definition, login, arguments)


def _required_user(definition: Database, login: DatabaseLogin) -> str:
    if not login.username:
        raise _no_login(definition)
    return login.username


def _no_login(definition: Database) -> CredentialMissing:
    return CredentialMissing(
        definition.name,
        "the database needs a user's name; register it with a user and a password, or with a "
        "service principal or an identity that has a client id",
    )


def _plan(
    driver: Driver,
    drivername: str,
    definition: Database,
    login: DatabaseLogin,
    arguments: Mapping[str, object],
) -> ConnectionPlan:
    return ConnectionPlan(
        store=definition.name,
        driver=driver,
        drivername=drivername,
        host=definition.host,
        port=definition.tcp_port,
        database=definition.database,
        username=login.username,
        takes_token=login.access_token is not None,
        enforce_ssl=definition.enforce_ssl,
        arguments=arguments,
    )
