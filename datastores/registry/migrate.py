"""Bringing a registry's schema up to date, by one process at a time."""

from __future__ import annotations

import threading

from sqlalchemy import Connection, text

from datastores.errors import RegistryBusy, RegistryTooNew, RegistryUnreachable
from datastores.registry.database import Database
from datastores.value import Value

# Alembic keeps the migration under way in module variables.
_one_at_a_time = threading.Lock()


class History(Value):
    """The steps of a schema and the newest of them; steps are numbered 0001, 0002, ..."""

    location: str
    newest: str


# The number is here and not only in the files so that opening a registry need not load Alembic.
SHIPPED = History("datastores.registry:migrations", "0003")


def bring_up_to_date(database: Database, *, create: bool, history: History = SHIPPED) -> None:
    """Take the missing steps; all of them or, if one fails, none."""
    if database.read(_version) != history.newest:
        database.write(lambda connection: _advance(connection, database, history, create=create))


def _version(connection: Connection) -> str | None:
    """The newest step taken; None in a database without a registry."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def _advance(connection: Connection, database: Database, history: History, *, create: bool) -> None:
    found = _version(connection)  # again, now that nobody else can change it
    if found == history.newest:
        return
    if found is None and not create:
        raise RegistryUnreachable(
            database.label, "there is no registry here; create a workspace in it first"
        )
    if found is not None and not _is_before(found, history.newest):
        raise RegistryTooNew(
            database.label,
            f"its schema is {found} and this version knows {history.newest}; upgrade datastores",
        )
    if not _one_at_a_time.acquire(timeout=database.patience_seconds):
        raise RegistryBusy(database.label, "another registry is being migrated; try again")
    try:
        _run_steps(connection, history)
    finally:
        _one_at_a_time.release()


def _is_before(version: str, newest: str) -> bool:
    return version.isdigit() and int(version) < int(newest)


def _run_steps(connection: Connection, history: History) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", history.location)
    config.attributes["connection"] = connection
    command.upgrade(config, history.newest)
