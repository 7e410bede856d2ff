"""Datastores that hold rows: an engine, batches, frames, Parquet files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from datastores.catalog.abstract import AbstractDatastore
from datastores.references import SqlDataReference

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import sqlalchemy

    from datastores.storage.rows.query import Query


class RowDatastore(AbstractDatastore):
    """A database."""

    attributes: ClassVar[Mapping[str, str]] = {
        "server_name": "server",
        "database_name": "database",
        "port_number": "port",
        "enforce_ssl": "enforce_ssl",
    }

    def engine(self) -> sqlalchemy.Engine:
        """A SQLAlchemy engine, encrypted unless the registration says otherwise.

        The caller disposes of it.
        """
        from datastores.storage.contract import Patience
        from datastores.storage.rows.engine import open_engine

        return open_engine(*self.unlock(), Patience())

    def read_batches(self, query: str | Query | SqlDataReference) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow batches, in constant memory; a text is a query."""
        from datastores.storage.rows.batches import read_batches

        with self.opened() as engine:
            yield from read_batches(engine, parse_query(query))

    def to_pandas_dataframe(self, query: str | Query | SqlDataReference) -> pd.DataFrame:
        """The rows as one frame, in memory; a text is a query."""
        from datastores.storage.rows.batches import read_frame

        with self.opened() as engine:
            return read_frame(engine, parse_query(query))

    def download(
        self,
        target_path: str | os.PathLike[str],
        query: str | Query | SqlDataReference,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> list[Path]:
        """The rows as Parquet files in a folder that appears complete or not at all."""
        from datastores.catalog.progress import RowProgress
        from datastores.storage.rows.parquet import download_rows

        target = Path(os.fspath(target_path)).expanduser()
        with self.opened() as engine, RowProgress(self.name, shown=show_progress) as progress:
            return download_rows(
                engine, parse_query(query), target, overwrite=overwrite, progress=progress.moved
            )

    @contextlib.contextmanager
    def opened(self) -> Iterator[sqlalchemy.Engine]:
        """The engine for the length of a `with` block."""
        engine = self.engine()
        try:
            yield engine
        finally:
            engine.dispose()


def parse_query(query: str | Query | SqlDataReference) -> Query:
    """What to ask the database, from a text, a query or a reference."""
    from datastores.storage.rows.query import Query

    match query:
        case Query():
            return query
        case SqlDataReference():
            return Query(
                table=query.sql_table,
                text=query.sql_query,
                procedure=query.sql_stored_procedure,
                parameters=query.sql_stored_procedure_params,
            )
        case str():
            return Query(text=query)


class AzureSqlDatabaseDatastore(RowDatastore):
    """An Azure SQL database."""


class AzurePostgreSqlDatastore(RowDatastore):
    """A PostgreSQL database."""


class AzureMySqlDatastore(RowDatastore):
    """A MySQL database."""
