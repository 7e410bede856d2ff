"""SQLAlchemy engines for databases, encrypted unless told otherwise."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from datastores.credentials.forms import OPEN_SOURCE_DATABASE_SCOPE, SQL_SCOPE, for_database
from datastores.credentials.kinds import Credential
from datastores.definitions import Definition, SqlDatabase
from datastores.errors import Unavailable, Unsupported
from datastores.secret import masked
from datastores.storage.contract import Patience
from datastores.storage.rows.connecting import connect, load_driver
from datastores.storage.rows.failures import translate
from datastores.storage.rows.plan import Database, Driver, Options, plan_connection

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.pool import PoolProxiedConnection


def open_engine(
    definition: Definition,
    credential: Credential,
    patience: Patience | None = None,
    *,
    options: Options | None = None,
    module: Any = None,
) -> Engine:
    """An engine that connects at first use; the caller disposes of it.

    No secret is in its URL or repr. Tokens are asked for at each new connection, so they renew.
    `module` stands in for the driver's module.
    """
    import sqlalchemy

    definition = _database(definition)
    options = options or Options.from_environment(os.environ)
    patience = patience or Patience()
    scope = SQL_SCOPE if isinstance(definition, SqlDatabase) else OPEN_SOURCE_DATABASE_SCOPE
    login = for_database(credential, store=definition.name, scope=scope)
    plan = plan_connection(definition, login, patience, options)
    module = module or load_driver(plan)
    # For reading only: the creator connects. Without a driver's name SQLAlchemy warns.
    query = {"driver": options.odbc_driver or "newest"} if plan.driver is Driver.PYODBC else {}
    url = sqlalchemy.URL.create(
        plan.drivername, plan.username, None, plan.host, plan.port, plan.database, query
    )
    return sqlalchemy.create_engine(
        url,
        module=module,
        creator=functools.partial(connect, plan, definition, login, module),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=patience.connect_seconds,
        execution_options={"datastore": definition},
    )


def _database(definition: Definition) -> Database:
    if not isinstance(definition, Database):
        raise Unsupported(
            definition.name,
            detail="it holds files and not rows; use its download, mount or filesystem",
        )
    return definition


def definition_of(engine: Engine) -> Database:
    """The definition an engine was opened for."""
    definition = engine.get_execution_options()["datastore"]
    assert isinstance(definition, Database)
    return definition


def check_out(engine: Engine) -> PoolProxiedConnection:
    """A connection of the pool; giving it back is the caller's."""
    import sqlalchemy.exc

    definition = definition_of(engine)
    try:
        return engine.raw_connection()
    except sqlalchemy.exc.DBAPIError as error:
        # SQLAlchemy asks a new server a few questions of its own, and wraps what fails there.
        original = error.orig if isinstance(error.orig, Exception) else error
        raise translate(original, definition) from masked(error)
    except engine.dialect.loaded_dbapi.Error as error:
        raise translate(error, definition) from masked(error)
    except sqlalchemy.exc.TimeoutError as error:
        raise Unavailable(
            definition.name,
            detail="all connections of this engine are in use; close the readers that are done",
        ) from error


def check(
    definition: Definition,
    credential: Credential,
    patience: Patience | None = None,
    *,
    options: Options | None = None,
    module: Any = None,
) -> None:
    """Log in once and ask for nothing, so that a registration that cannot work fails early."""
    engine = open_engine(definition, credential, patience, options=options, module=module)
    try:
        raw = check_out(engine)
        try:
            cursor = raw.cursor()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            cursor.close()
        finally:
            raw.close()
    except engine.dialect.loaded_dbapi.Error as error:
        raise translate(error, definition_of(engine)) from masked(error)
    finally:
        engine.dispose()
