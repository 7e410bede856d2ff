"""The references of a run configuration, as inputs, rows and outputs of a job spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from datastores.contract import (
    InputMode,
    InputSpec,
    OutputMode,
    OutputSpec,
    QuerySpec,
    RowsSpec,
)
from datastores.definitions import Definition
from datastores.errors import DefinitionRejected, NotRegistered, Unsupported
from datastores.keys import parse_place
from datastores.references import DataReferenceConfiguration
from datastores.runs.data import Data, DataLocation, OutputData, SqlReferenceConfiguration
from datastores.runs.run_configuration import ReferenceConfiguration, RunConfiguration
from datastores.value import Value


class Defined(Protocol):
    """A datastore, as far as planning goes: an object of the catalog, or a record."""

    @property
    def definition(self) -> Definition: ...


class KnownDatastores(Value):
    """The datastores of the workspace."""

    datastores: Mapping[str, Defined]

    def definition(self, name: str | None) -> Definition:
        # Names have no capitals, but files that were written by hand do.
        found = self.datastores.get((name or "").lower())
        if found is None:
            known = sorted(self.datastores)
            raise NotRegistered("datastore", name or "", "the workspace", known)
        return found.definition


class PlannedData(Value):
    """All references of a run, by what the node does with them."""

    inputs: tuple[InputSpec, ...]
    rows: tuple[RowsSpec, ...]
    outputs: tuple[OutputSpec, ...]

    @classmethod
    def of(
        cls, configuration: RunConfiguration, known: KnownDatastores, run_id: str
    ) -> PlannedData:
        specs = [
            *(_reference(name, one, known) for name, one in configuration.data_references.items()),
            *(_data(name, one, known) for name, one in configuration.data.items()),
            *(_output(name, one, known) for name, one in configuration.output_data.items()),
        ]
        outputs = (one for one in specs if isinstance(one, OutputSpec))
        return cls(
            tuple(one for one in specs if isinstance(one, InputSpec)),
            tuple(one for one in specs if isinstance(one, RowsSpec)),
            tuple(replace(one, place=one.place.replace("{run_id}", run_id)) for one in outputs),
        )


def _reference(
    name: str, one: ReferenceConfiguration, known: KnownDatastores
) -> InputSpec | RowsSpec | OutputSpec:
    definition = known.definition(one.data_store_name)
    if isinstance(one, SqlReferenceConfiguration):
        return _rows(name, one, definition)
    return _files(name, one, definition)


def _rows(name: str, one: SqlReferenceConfiguration, definition: Definition) -> RowsSpec:
    if definition.holds != "rows":
        raise Unsupported(
            definition.name, None, "it holds files and no rows; use datastore.path(...)"
        )
    if one.mode != "download":
        _refuse_rows(definition, one.mode)
    given = one.sql_stored_procedure_params
    query = QuerySpec(
        one.sql_table,
        one.sql_query,
        one.sql_stored_procedure,
        {key: _plain(name, value) for key, value in given.items()}
        if isinstance(given, Mapping)
        else {},
        () if isinstance(given, Mapping) else tuple(_plain(name, value) for value in given or ()),
    )
    if sum(bool(part) for part in (query.table, query.text, query.procedure)) != 1:
        raise DefinitionRejected(
            name, "give exactly one of sql_table, sql_query and sql_stored_procedure"
        )
    return RowsSpec(name, definition, query, one.path_on_compute, one.overwrite)


def _plain(name: str, value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise DefinitionRejected(
        name, f"a parameter is a {type(value).__name__}; give texts, numbers and booleans"
    )


def _files(
    name: str, one: DataReferenceConfiguration, definition: Definition
) -> InputSpec | OutputSpec:
    if definition.holds == "rows":
        _refuse_rows(definition, one.mode)
    place = parse_place(one.path_on_data_store)
    if one.mode == OutputMode.UPLOAD.value:
        return OutputSpec(
            name, OutputMode.UPLOAD, definition, place, one.path_on_compute, one.overwrite
        )
    modes = {mode.value: mode for mode in InputMode}
    if one.mode not in modes:
        raise Unsupported(
            definition.name, None, f'"{one.mode}" of "{name}"; it can mount, download and upload'
        )
    return InputSpec(name, modes[one.mode], definition, place, one.path_on_compute, one.overwrite)


def _refuse_rows(definition: Definition, mode: str) -> None:
    raise Unsupported(
        definition.name,
        None,
        f"{mode} of files; it holds rows, which it can download: "
        f"use SqlDataReference(datastore, sql_query=...)",
    )


def _data(name: str, one: Data, known: KnownDatastores) -> InputSpec | OutputSpec:
    store, place = _data_place(name, one.data_location)
    reference = DataReferenceConfiguration(
        store, one.mechanism, place, one.path_on_compute, one.overwrite
    )
    if one.mechanism not in {mode.value for mode in InputMode}:
        raise DefinitionRejected(
            name, f'a file input cannot be "{one.mechanism}"; use "mount" or "download"'
        )
    return _files(name, reference, known.definition(store))


def _output(name: str, one: OutputData, known: KnownDatastores) -> OutputSpec:
    store, place = _data_place(name, one.output_location)
    definition = known.definition(store)
    if definition.holds == "rows":
        _refuse_rows(definition, one.mechanism)
    modes = {mode.value: mode for mode in OutputMode}
    if one.mechanism not in modes:
        raise DefinitionRejected(
            name, f'an output cannot be "{one.mechanism}"; use "upload" or "mount"'
        )
    options = one.additional_options
    upload = options.upload_options if options else None
    return OutputSpec(
        name,
        modes[one.mechanism],
        definition,
        parse_place(place),
        options.path_on_compute if options else None,
        upload.overwrite if upload else False,
    )


def _data_place(name: str, location: DataLocation | None) -> tuple[str | None, str | None]:
    if location is None or location.data_path is None:
        raise DefinitionRejected(
            name, "it names no place in a datastore; fetch the dataset and use its dataPath"
        )
    return location.data_path.datastore_name, location.data_path.relative_path
