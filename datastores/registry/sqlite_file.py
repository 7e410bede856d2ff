"""A registry in one file."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from datastores.errors import RegistryBusy, RegistryReadOnly, RegistryUnreachable
from datastores.registry.database import one_line, unnamed
from datastores.registry.fork_gate import fork_gate
from datastores.registry.lock_holder import holder
from datastores.value import Value

T = TypeVar("T")

log = logging.getLogger(__name__)

# Silence of this length looks like a program that hangs.
TELL_SECONDS = 2.0

_CREATION_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
# A reader without locks tries for about two seconds.
_LOOKS, _LOOK_PAUSE_SECONDS = 400, 0.005

# SQLite's primary result codes.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_CLOSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}


class SqliteFile(Value):
    """A file of this machine. Network file systems have no shared memory: use PostgreSQL there."""

    path: Path

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def folder(self) -> Path:
        return self.path.parent

    def find(self) -> None:
        # SQLite would speak of a file it cannot open, whatever the cause.
        if not self.path.is_file():
            raise RegistryUnreachable(
                self.label, "there is no such file; create a workspace in it first"
            )
        if self.path.stat().st_size == 0:
            raise RegistryUnreachable(
                self.label,
                "the file is empty, so its workspaces are lost; restore it from a backup, or make "
                'them again with "datastores ws create NAME"',
            )

    def make(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.path.exists():
                self.path.touch()
            is_new = self.path.stat().st_size == 0
        except OSError as error:
            raise RegistryReadOnly(
                self.label, f"cannot be made ({error.strerror}); choose a folder you can write to"
            ) from error
        if is_new:
            try:
                with fork_gate.transaction():
                    _write_ahead(self.path)
            except sqlite3.DatabaseError as error:
                raise self.translate(DBAPIError(None, None, error)) from error

    def engine(self, patience_seconds: float) -> Engine:
        # A connection is opened for each transaction (0.6 ms with its end) and none is kept: SQLite's locks
        # belong to a process, and a connection that crosses a fork breaks them for both sides.
        engine = create_engine(
            "sqlite://",
            creator=lambda: _connect(self.path, patience_seconds),
            poolclass=NullPool,
            hide_parameters=True,
        )

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that reads first and writes later can lose to another one half way.
            if not connection.get_execution_options().get("writer", False):
                connection.exec_driver_sql("BEGIN")
            elif not _begins_soon(connection, min(TELL_SECONDS, patience_seconds)):
                rest = patience_seconds - TELL_SECONDS
                if rest > 0:
                    log.warning(
                        'registry "%s" is being written to by %s; waiting up to %.0f s more',
                        self.label,
                        holder(_shared_memory(self.path)) or "another process",
                        rest,
                    )
                _wait_at_most(connection, max(rest, 0))
                connection.exec_driver_sql("BEGIN IMMEDIATE")

        return engine

    def read(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        if _is_writable(self.path):
            with engine.connect() as connection, connection.begin():
                return work(connection)
        return self._read_unguarded(engine, work)

    def _read_unguarded(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        """For those who may not write, hence cannot lock: look, and look whether it changed."""
        for _ in range(_LOOKS):
            before = _marks(self.path)
            try:
                with engine.connect() as connection, connection.begin():
                    result = work(connection)
            except Exception as error:
                # What was read in the middle of a change may be wrong in any way.
                if before == _marks(self.path) and not _is_unfinished(error):
                    raise
            else:
                if before == _marks(self.path):
                    return result
            time.sleep(_LOOK_PAUSE_SECONDS)
        raise RegistryBusy(
            self.label,
            "it changes faster than it can be read, or a writer was cut off; try again, or have "
            "its owner open it once",
        )

    def begin_writing(self, connection: Connection, patience_seconds: float) -> None:
        """Nothing more: BEGIN IMMEDIATE has waited."""

    def translate(self, error: DBAPIError) -> Exception:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        text = one_line(error)
        if code in _BUSY:
            return RegistryBusy(self.label, "another process is writing to it; try again")
        if code == sqlite3.SQLITE_READONLY:
            return RegistryReadOnly(
                self.label, "the file or its folder cannot be written; ask for write access"
            )
        if code == sqlite3.SQLITE_FULL:
            return RegistryReadOnly(self.label, "the disk is full; make room and try again")
        if code in _DAMAGED:
            return RegistryUnreachable(
                self.label, f"the file is damaged ({text}); restore it from a backup"
            )
        if code in _CLOSED:
            return RegistryUnreachable(
                self.label, f"cannot be opened ({text}); check that the file exists and is yours"
            )
        return unnamed(self.label, error)


def _begins_soon(connection: Connection, seconds: float) -> bool:
    """Whether this is the writer now; False when another one still is."""
    _wait_at_most(connection, seconds)
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in _BUSY:
            return False
        raise DBAPIError(None, None, error) from error
    return True


def _wait_at_most(connection: Connection, seconds: float) -> None:
    connection.exec_driver_sql(f"PRAGMA busy_timeout={round(seconds * 1000)}")


def _connect(path: Path, patience_seconds: float) -> sqlite3.Connection:
    address = f"file:{urllib.parse.quote(str(path))}?{_mode(path)}"
    connection = sqlite3.connect(
        address,
        timeout=patience_seconds,
        isolation_level=None,  # transactions are begun in `engine`, not guessed by the driver
        check_same_thread=False,
        uri=True,
    )
    try:
        # FULL: rotation throws old keys away after a commit, so a commit must survive power loss.
        connection.executescript(
            "PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def _mode(path: Path) -> str:
    """How to open the file, so that those who may only read it can."""
    if _is_writable(path):
        return "mode=rw"
    # Without its journal a reader needs to make one, which a read-only folder forbids, or to
    # declare that nobody writes; `_marks` show whether that stayed true.
    return "mode=ro" if _journal(path).exists() else "mode=ro&immutable=1"


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _journal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _shared_memory(path: Path) -> Path:
    """Where SQLite keeps the locks of a file with a journal."""
    return path.with_name(path.name + "-shm")


def _marks(path: Path) -> tuple[object, ...] | None:
    """What changes when somebody writes; None when opening it will say what is wrong."""
    try:
        found = path.stat()
    except OSError:
        return None
    return _journal(path).exists(), found.st_ino, found.st_size, found.st_mtime_ns


def _is_unfinished(error: Exception) -> bool:
    """Whether a writer is just setting up its journal, or left it behind."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _write_ahead(path: Path) -> None:
    """Let readers go on while one writes; the file remembers this."""
    deadline = time.monotonic() + _CREATION_SECONDS
    while True:
        connection = sqlite3.connect(path, timeout=_CREATION_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.DatabaseError as error:
            # SQLite does not wait here when another process makes the same change.
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
        finally:
            connection.close()
