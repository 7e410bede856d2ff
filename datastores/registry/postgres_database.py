"""A registry in a PostgreSQL database, shared by many machines."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg2
import psycopg2.extensions
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError

from datastores.errors import (
    CredentialRefused,
    RegistryBusy,
    RegistryReadOnly,
    RegistryUnreachable,
)
from datastores.registry.database import one_line, unnamed
from datastores.secret import Secret
from datastores.text import printable
from datastores.value import Value

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_SECONDS = 10

# Silence of this length looks like a program that hangs.
TELL_SECONDS = 2.0

# Advisory locks are numbered; this one is the first eight bytes of "registry".
_WRITERS_LOCK = int.from_bytes(b"registry")
_TURN = "turn"
_TOOK_TOO_LONG = "55P03"

_DEFAULTS = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "datastores",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# The protocol's refusals before a session exists reach psycopg2 as text only.
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|role \S+ does not exist"
    r"|is not permitted to log in|SASL|requires a valid client certificate"
)
_FULL = re.compile(r"too many clients|too many connections|remaining connection slots")


class PostgresDatabase(Value):
    """What libpq needs to connect; all it does not find here it takes from its own places
    (PGPASSWORD, .pgpass, service files).
    """

    label: str
    where: str  # host and port, for messages
    parameters: Mapping[str, Any]
    secrets: Mapping[str, Secret]
    # One transaction with everything in it; after that its connection is cut.
    transaction_seconds: float = 60.0

    @property
    def folder(self) -> None:
        return None

    def find(self) -> None:
        """Nothing: the first connection finds out."""

    def make(self) -> None:
        """Nothing: a database is made by its server's administrator."""

    def engine(self, patience_seconds: float) -> Engine:
        engine = create_engine(
            "postgresql+psycopg2://",
            creator=self._connect,
            pool_size=2,
            max_overflow=8,
            pool_timeout=patience_seconds,
            pool_recycle=1800,
            hide_parameters=True,
        )
        event.listen(engine, "checkout", self._start_clock)
        event.listen(engine, "checkin", _stop_clock)
        return engine

    def _connect(self) -> Any:
        # Not `psycopg2.connect`: its frames would hold the password while an error passes through.
        public = psycopg2.extensions.make_dsn(**{**_DEFAULTS, **self.parameters})
        return psycopg2.extensions.connection(
            " ".join([public, *(f"{name}={_quoted(text)}" for name, text in self.secrets.items())])
        )

    def _start_clock(self, connection: Any, record: Any, proxy: Any) -> None:  # noqa: ARG002  # SQLAlchemy's signature
        """Bound what follows, and find out whether an idle connection still lives."""
        clock = threading.Timer(self.transaction_seconds, _cut, [connection])
        clock.daemon = True
        clock.start()
        if record.info.setdefault("is_new", True):
            record.info.update(is_new=False, clock=clock)
            return
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            connection.rollback()
        except psycopg2.Error as error:
            clock.cancel()
            raise DisconnectionError from error
        record.info["clock"] = clock

    def read(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        with engine.connect() as connection:
            moment = connection.execution_options(isolation_level="REPEATABLE READ")
            with moment.begin():
                return work(moment)

    def begin_writing(self, connection: Connection, patience_seconds: float) -> None:
        silent = min(TELL_SECONDS, patience_seconds)
        # In one round trip, and only for this transaction, so that poolers between need no session.
        # The first limit frees the lock when a client's machine vanishes; the savepoint lets the
        # transaction go on after the second one.
        first = (
            f"SET LOCAL idle_in_transaction_session_timeout = '{int(self.transaction_seconds)}s'; "
            f"SAVEPOINT {_TURN}; {_lock_within(silent)}"
        )
        if _has_lock(connection, first):
            return
        connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {_TURN}")
        who, rest = _holder(connection), patience_seconds - silent
        if rest > 0:
            log.warning(
                'registry "%s" is being written to by %s; waiting up to %.0f s more',
                self.label,
                who,
                rest,
            )
            if _has_lock(connection, _lock_within(rest)):
                return
        raise RegistryBusy(
            self.label,
            f"{who} is writing to it and did not end within {patience_seconds:.0f} s; try again",
        )

    def translate(self, error: DBAPIError) -> Exception:  # noqa: PLR0911  # one return for each thing a person can do
        code = getattr(error.orig, "pgcode", None) or ""
        text = one_line(error)
        if code.startswith("28") or (not code and _REFUSED.search(text)):
            return CredentialRefused(
                self.label,
                f"{text}; correct the user or the password (in the address, PGPASSWORD or .pgpass)",
            )
        if code in (_TOOK_TOO_LONG, "57014", "40P01", "40001"):
            return RegistryBusy(self.label, "another process is writing to it; try again")
        if code == "53300" or (not code and _FULL.search(text)):
            return RegistryBusy(self.label, f"{text}; try again, or allow more connections")
        if code in ("25006", "42501"):
            return RegistryReadOnly(self.label, f"{text}; ask for write access")
        if code == "53100":
            return RegistryReadOnly(self.label, f"{text}; make room on the server")
        if code.startswith(("08", "57P")) or not code:
            return RegistryUnreachable(
                self.label, f"no usable answer from {self.where} ({text}); "
                "check the address, and that the server runs",
            )  # fmt: skip
        return unnamed(self.label, error)


def _lock_within(seconds: float) -> str:
    # Zero would mean no limit at all.
    milliseconds = max(1, int(seconds * 1000))
    return (
        f"SET LOCAL lock_timeout = '{milliseconds}ms'; "
        f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})"
    )


def _has_lock(connection: Connection, statements: str) -> bool:
    """Whether they came to their end, and not to that of the time for locks."""
    try:
        connection.exec_driver_sql(statements)
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _TOOK_TOO_LONG:
            raise
        return False
    return True


def _holder(connection: Connection) -> str:
    """Who has the writer's lock, as far as this user may know."""
    found = connection.exec_driver_sql(
        "SELECT a.pid, a.application_name, host(a.client_addr) FROM pg_locks l "
        "JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND (l.classid::bigint << 32 | l.objid::bigint) = %s",
        (_WRITERS_LOCK,),
    ).first()
    if found is None:
        return "another process"
    facts = [f"number {found[0]} of the server"]
    facts += [printable(found[1])] if found[1] else []
    facts += [f"from {found[2]}"] if found[2] else []
    return f"another process ({', '.join(facts)})"


def _quoted(text: Secret) -> str:
    return "'" + text.reveal().replace("\\", "\\\\").replace("'", "\\'") + "'"


def _stop_clock(connection: Any, record: Any) -> None:  # noqa: ARG001  # SQLAlchemy's signature
    clock = record.info.pop("clock", None)
    if clock is not None:
        clock.cancel()


def _cut(connection: Any) -> None:
    # libpq waits for an answer without any limit; a socket shut from this side ends the wait.
    # A connection that was closed in the meantime has no socket to shut.
    with (
        contextlib.suppress(psycopg2.InterfaceError, OSError),
        socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as copy,
    ):
        copy.shutdown(socket.SHUT_RDWR)
