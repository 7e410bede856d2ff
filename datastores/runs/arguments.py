"""References inside arguments and inputs: their texts go to the script, they go to the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from datastores.catalog.abstract import AbstractDatastore
from datastores.errors import DefinitionRejected
from datastores.references import (
    DataReference,
    DataReferenceConfiguration,
    SqlDataReference,
    collect,
)
from datastores.runs.data import Data, OutputData, SqlReferenceConfiguration

Live: TypeAlias = DataReference | SqlDataReference
Stored: TypeAlias = DataReferenceConfiguration | SqlReferenceConfiguration


def live_reference(value: Any) -> Live | None:
    """The reference a value is or stands for: a datastore of files stands for its root."""
    if isinstance(value, DataReference | SqlDataReference):
        return value
    if isinstance(value, AbstractDatastore) and value.definition.holds == "files":
        return DataReference(value)
    return None


def stored(reference: Any) -> Stored:
    """A reference as a run configuration keeps it."""
    match reference:
        case DataReferenceConfiguration() | SqlReferenceConfiguration():
            return reference
        case DataReference():
            return reference.to_config()
        case SqlDataReference():
            return SqlReferenceConfiguration(
                str(reference.datastore.name),
                reference.mode,
                reference.sql_table,
                reference.sql_query,
                reference.sql_stored_procedure,
                reference.sql_stored_procedure_params,
                reference.path_on_compute,
                reference.overwrite,
            )
    raise DefinitionRejected(
        "data_references",
        f"{type(reference).__name__} is no reference; use datastore.path(...).as_mount()",
    )


def flatten(script_params: Mapping[Any, Any]) -> list[Any]:
    """Names and values in order; a list becomes several, None and "" are left out."""
    found: list[Any] = []
    for item in (one for pair in script_params.items() for one in pair):
        if isinstance(item, Iterable) and not isinstance(item, str | bytes):
            # What is iterable inside becomes its text, as in the original.
            found += [_text_of_iterable(one) for one in item]
        else:
            found.append(item)
    return [item for item in found if not (item is None or (isinstance(item, str) and not item))]


def with_references(
    arguments: Iterable[Any], data_references: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Stored]]:
    """The arguments as texts and numbers, and the entries with those found in them added."""
    entries = {name: stored(one) for name, one in data_references.items()}
    texts: list[Any] = []
    live: list[Live] = []
    for argument in arguments:
        _refuse_data(argument)
        reference = live_reference(argument)
        if reference is not None:
            live.append(reference)
        texts.append(argument if reference is None else str(reference))
    for name, reference in gathered(live).items():
        entry = stored(reference)
        if entries.setdefault(name, entry) != entry:
            raise DefinitionRejected(
                name,
                f"an argument and data_references have two references of this name, "
                f"{reference.display} and {entries[name]!r}; give one another name",
            )
    return texts, entries


def gathered(references: Iterable[Live]) -> dict[str, Live]:
    """References by name; the same place said twice is one, two different ones are refused."""
    first: dict[tuple[str, str], Live] = {}
    for reference in references:
        # Two objects that say the same are no contradiction: `ds.as_mount()` written twice.
        first.setdefault((reference.data_reference_name, repr(stored(reference))), reference)
    return dict(collect(list[Any](first.values())))


def input_references(inputs: Sequence[Any] | None) -> list[Live]:
    """The references of an `inputs` list; datastores of files stand for their roots."""
    if inputs is not None and not isinstance(inputs, list | tuple):
        raise DefinitionRejected(
            "inputs", f"it is a {type(inputs).__name__}; give a list of references"
        )
    found: list[Live] = []
    for one in inputs or ():
        reference = live_reference(one)
        if reference is None:
            shown = getattr(one, "name", None) or type(one).__name__
            raise DefinitionRejected(
                "inputs",
                f'"{shown}" ({type(one).__name__}) cannot be an input; '
                f"use a datastore of files, datastore.path(...).as_download() or SqlDataReference",
            )
        found.append(reference)
    return found


def _refuse_data(argument: Any) -> None:
    if isinstance(argument, Data | OutputData):
        raise DefinitionRejected(
            "arguments",
            f"{type(argument).__name__} has no name there; put it into data or output_data, and "
            f'write "$AZUREML_DATAREFERENCE_<name>"',
        )


def _text_of_iterable(item: Any) -> Any:
    return str(item) if isinstance(item, Iterable) and not isinstance(item, str) else item
