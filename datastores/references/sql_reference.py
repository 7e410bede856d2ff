"""Rows of a database, which a job sees as Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from datastores.errors import DefinitionRejected, Unsupported
from datastores.references.naming import VARIABLE_PREFIX, NamedPlace, reference_name


class SqlDataReference:
    """A table, a query or a stored procedure; downloaded as a folder of Parquet files.

    The path contract is that of any reference: `$AZUREML_DATAREFERENCE_<name>` is the folder.
    """

    mode = "download"

    def __init__(
        self,
        datastore: NamedPlace,
        data_reference_name: str | None = None,
        sql_table: str | None = None,
        sql_query: str | None = None,
        sql_stored_procedure: str | None = None,
        sql_stored_procedure_params: Mapping[str, Any] | Sequence[Any] | None = None,
    ) -> None:
        name = reference_name(data_reference_name, datastore, is_root=False)
        given = [text for text in (sql_table, sql_query, sql_stored_procedure) if text]
        if len(given) != 1:
            raise DefinitionRejected(
                name, "give exactly one of sql_table, sql_query and sql_stored_procedure"
            )
        if sql_stored_procedure_params and not sql_stored_procedure:
            raise DefinitionRejected(name, "parameters need a sql_stored_procedure")
        self.datastore = datastore
        self.data_reference_name = name
        self.sql_table = sql_table
        self.sql_query = sql_query
        self.sql_stored_procedure = sql_stored_procedure
        self.sql_stored_procedure_params = sql_stored_procedure_params
        self.path_on_compute: str | None = None
        self.overwrite = False

    @property
    def display(self) -> str:
        """The reference in a few words, for messages."""
        return f'rows of "{self.datastore.name}" ({self.mode})'

    def as_download(
        self, path_on_compute: str | None = None, overwrite: bool = False
    ) -> SqlDataReference:
        """The same rows, at a place on the compute of the caller's choice."""
        clone = SqlDataReference(
            self.datastore,
            self.data_reference_name,
            self.sql_table,
            self.sql_query,
            self.sql_stored_procedure,
            self.sql_stored_procedure_params,
        )
        clone.path_on_compute, clone.overwrite = path_on_compute, overwrite
        return clone

    def as_mount(self) -> NoReturn:
        """Rows have no mount."""
        self._refuse("mount")

    def as_upload(self, path_on_compute: str | None = None, overwrite: bool = False) -> NoReturn:  # noqa: ARG002  # the signature of every reference
        """Rows have no upload."""
        self._refuse("upload")

    def _refuse(self, mode: str) -> NoReturn:
        raise Unsupported(str(self.datastore.name), None, f"rows know no {mode}; use as_download()")

    def __str__(self) -> str:
        return f"${VARIABLE_PREFIX}{self.data_reference_name}"

    __repr__ = __str__
