"""Transactions on a registry's database, whichever it is; errors leave as the project's own."""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from datastores.errors import RegistryBusy, RegistryError, RegistryUnreachable
from datastores.registry.fork_gate import fork_gate
from datastores.secret import redact

T = TypeVar("T")

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Place(Protocol):
    """A kind of database; there are two."""

    @property
    def label(self) -> str:
        """The place in one line for people; never a secret."""

    @property
    def folder(self) -> Path | None:
        """Where files that belong to the registry lie, if it has such a place."""

    def find(self) -> None:
        """Nothing, or `RegistryUnreachable` when there is no database to open."""

    def make(self) -> None:
        """An empty database, where that is ours to make; an existing one is left alone."""

    def engine(self, patience_seconds: float) -> Engine:
        """What opens connections; nothing is opened yet."""

    def read(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        """Do `work` in one transaction that sees one moment of the database."""

    def begin_writing(self, connection: Connection, patience_seconds: float) -> None:
        """Wait until no other writer is left; the end of the transaction lets the next one in."""

    def translate(self, error: DBAPIError) -> Exception:
        """What the error means for a person."""


class Database:
    """One writer at a time, readers at any time; for threads, and usable on after a fork."""

    def __init__(self, place: Place, engine: Engine, patience_seconds: float) -> None:
        self.place, self.engine, self.patience_seconds = place, engine, patience_seconds

    @classmethod
    def of(cls, place: Place, patience_seconds: float) -> Database:
        """The database of a place; nothing is opened before the first transaction."""
        engine = place.engine(patience_seconds)
        _engines.add(engine)
        return cls(place, engine, patience_seconds)

    @property
    def label(self) -> str:
        """The place in one line for people; never a secret."""
        return self.place.label

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; it sees one moment of the database and may be run twice."""
        with self._translated(), fork_gate.transaction():
            return self.place.read(self.engine, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once all it wrote is durable; if it raises, nothing was written."""
        with (
            self._translated(),
            fork_gate.transaction(),
            self.engine.connect() as connection,
        ):
            writer = connection.execution_options(writer=True)
            with writer.begin():
                self.place.begin_writing(writer, self.patience_seconds)
                return work(writer)

    def close(self) -> None:
        """Let go of connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self.place.translate(error) from error
        except PoolTimeout as error:
            raise RegistryBusy(
                self.label, "every connection is in use; use fewer threads, or try again"
            ) from error
        except json.JSONDecodeError as error:
            raise RegistryUnreachable(
                self.label, "a record is damaged; restore the registry from a backup"
            ) from error


def unnamed(label: str, error: DBAPIError) -> RegistryError:
    """The error for a failure that nobody foresaw, with the database's own words."""
    return RegistryError(label, f"{one_line(error)}; see the database's log")


def one_line(error: DBAPIError) -> str:
    """The database's own words, without line breaks and secrets."""
    return redact(" ".join(str(error.orig).split()))


def _forget_connections() -> None:
    # A connection belongs to the process that made it; the child makes its own.
    for engine in list(_engines):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)
