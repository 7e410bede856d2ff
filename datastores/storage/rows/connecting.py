"""The calls that hand a secret to a driver."""

from __future__ import annotations

import importlib
import re
import ssl
import struct
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from datastores.credentials.forms import DatabaseLogin
from datastores.errors import Unsupported
from datastores.secret import Secret, masked
from datastores.storage.rows.failures import translate
from datastores.storage.rows.plan import ConnectionPlan, Database, Driver

SQL_COPT_SS_ACCESS_TOKEN = 1256

_EXTRAS = {Driver.PYMYSQL: "mysql", Driver.PYODBC: "sqlserver"}


def load_driver(plan: ConnectionPlan) -> Any:
    """The driver's module; `Unsupported` names what to install when it is missing."""
    try:
        module = importlib.import_module(plan.driver.value)
    except ImportError as error:
        extra = _EXTRAS.get(plan.driver)
        package = f"datastores[{extra}]" if extra else "datastores"
        raise Unsupported(
            plan.store,
            detail=f'the driver "{plan.driver.value}" cannot be loaded; '
            f"run: pip install '{package}'",
        ) from error
    if plan.driver is Driver.PYMYSQL:
        _refuse_old_pymysql(module, plan.store)
    return module


def _refuse_old_pymysql(module: ModuleType, store: str) -> None:
    # Before 1.2 it goes on in the clear when the server offers no TLS, password included.
    numbers = re.findall(r"\d+", str(module.__version__))[:2]
    if tuple(map(int, numbers)) < (1, 2):
        raise Unsupported(
            store,
            detail=f"pymysql {module.__version__} may send passwords unencrypted; "
            "run: pip install 'pymysql>=1.2'",
        )


def connect(plan: ConnectionPlan, definition: Database, login: DatabaseLogin, module: Any) -> Any:
    """A new DBAPI connection; a token is asked for now, so that it is always a fresh one."""
    secret = login.access_token() if login.access_token is not None else login.password
    opener = _OPENERS[plan.driver]
    try:
        return opener(plan, secret, module)
    except module.Error as error:
        raise translate(error, definition) from masked(error)


def _open_postgresql(plan: ConnectionPlan, secret: Secret | None, module: Any) -> Any:
    # No variable holds the password: crash reports print those.
    return module.connect(**plan.arguments, **({"password": secret.reveal()} if secret else {}))


def _open_mysql(plan: ConnectionPlan, secret: Secret | None, module: Any) -> Any:
    arguments = dict(plan.arguments)
    if plan.enforce_ssl:
        # Honours SSL_CERT_FILE and SSL_CERT_DIR; checks the certificate and the host's name.
        arguments["ssl"] = ssl.create_default_context()
    return module.connect(**arguments, password=secret.reveal() if secret else "")


def _open_sql_server(plan: ConnectionPlan, secret: Secret | None, module: Any) -> Any:
    keywords = dict(_mapping(plan.arguments["keywords"]))
    if "Driver" not in keywords:
        keywords["Driver"] = _newest_odbc_driver(module, plan.store)
    attributes: dict[int, bytes] = {}
    if secret is not None and plan.takes_token:
        attributes[SQL_COPT_SS_ACCESS_TOKEN] = _token_structure(secret)
    password = None if plan.takes_token else secret
    connection = module.connect(
        _odbc_text(keywords, password),
        timeout=plan.arguments["timeout"],
        attrs_before=attributes,
    )
    # On a connection the attribute bounds each statement; 0 leaves it to the server.
    connection.timeout = plan.arguments["statement_seconds"]
    return connection


def _odbc_text(keywords: Mapping[str, object], password: Secret | None) -> str:
    login = {"PWD": password.reveal()} if password else {}
    return ";".join(f"{name}={_braced(value)}" for name, value in {**keywords, **login}.items())


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value


def _newest_odbc_driver(module: Any, store: str) -> str:
    drivers: list[str] = module.drivers()
    numbered = {
        int(match[1]): driver
        for driver in drivers
        if (match := re.fullmatch(r"ODBC Driver (\d+) for SQL Server", driver))
    }
    if not numbered:
        raise Unsupported(
            store,
            detail="no ODBC driver for SQL Server is installed; install Microsoft's package "
            '"msodbcsql18", or name another driver in DATASTORES_ODBC_DRIVER',
        )
    return numbered[max(numbered)]


def _token_structure(token: Secret) -> bytes:
    """The driver's ACCESSTOKEN: four bytes of length, then the token as UTF-16-LE."""
    text = token.reveal().encode("utf-16-le")
    return struct.pack("<I", len(text)) + text


def _braced(value: object) -> str:
    return "{" + str(value).replace("}", "}}") + "}"


_OPENERS: dict[Driver, Callable[[ConnectionPlan, Secret | None, Any], Any]] = {
    Driver.PSYCOPG2: _open_postgresql,
    Driver.PYMYSQL: _open_mysql,
    Driver.PYODBC: _open_sql_server,
}
