"""Where a registry is, from what a person wrote: a path, or a PostgreSQL address."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from datastores.errors import ConfigRejected
from datastores.registry.database import Place
from datastores.registry.sqlite_file import SqliteFile
from datastores.secret import Secret

FILE_NAME = "registry.db"

# Parameters of libpq whose values are secrets.
_SECRET = ("password", "sslpassword")


def parse_address(address: Secret) -> Place:
    """The place an address stands for; a folder stands for the `registry.db` in it.

    The address comes as a secret because it may hold a password; the place shows none.
    """
    if "://" not in address.reveal():
        return _file(address.reveal())
    scheme = address.reveal().partition("://")[0]
    dialect = scheme.partition("+")[0]
    if dialect in ("postgresql", "postgres"):
        return _postgres(_url(address))
    if dialect == "sqlite" and (path := _url(address).database) and path != ":memory:":
        return _file(path)
    raise ConfigRejected(
        f"{scheme}://...",
        'this address cannot hold a registry; use the path of a file or "postgresql://..."',
    )


def _file(path: str) -> SqliteFile:
    # Links are followed once, here: SQLite's journals must lie beside the file itself.
    found = Path(os.path.realpath(Path(path).expanduser()))
    return SqliteFile(found / FILE_NAME if found.is_dir() else found)


def _url(address: Secret) -> URL:
    # Raised below and not in an `except`: the frames of SQLAlchemy's error hold the address.
    with contextlib.suppress(ArgumentError, ValueError):
        return make_url(address.reveal())
    raise ConfigRejected(
        "the registry's address",
        'it cannot be read; write "postgresql://user@host:port/database", and %-encode '
        "special characters of a password",
    )


def _postgres(url: URL) -> Place:
    # Its driver is loaded only where there is such a database.
    from datastores.registry.postgres_database import PostgresDatabase

    secrets = {
        name: Secret(str(value)) for name, value in url.query.items() if name in _SECRET and value
    }
    if url.password:
        secrets["password"] = Secret(str(url.password))
    query = {name: value for name, value in url.query.items() if name not in _SECRET}
    public = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    _, parameters = public.get_dialect()().create_connect_args(public)
    service = url.query.get("service")
    host = parameters.get("host") or "the host of libpq's own settings"
    port = parameters.get("port") or "5432"
    return PostgresDatabase(
        label=public.set(query={"service": service} if service else {}).render_as_string(),
        where=f"service {service}" if service else f"{host}:{port}",
        parameters=parameters,
        secrets=secrets,
    )
