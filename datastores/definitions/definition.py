"""The base of all definitions, and their JSON form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from datastores.errors import WireError
from datastores.names import DatastoreName
from datastores.value import Value

_kinds: dict[str, type[Definition]] = {}


class Definition(Value):
    """A named place that can be opened with a credential; subclasses say where it is."""

    # The `dataStoreType` of Azure ML's service, so stored records and its clients agree.
    kind: ClassVar[str]
    holds: ClassVar[str]  # "files" or "rows"

    name: DatastoreName

    def __init_subclass__(cls) -> None:
        # No zero-argument super(): a slotted dataclass is a second class object.
        kind = cls.__dict__.get("kind")
        if kind:
            _kinds[kind] = cls

    @property
    def display(self) -> str:
        """The place in one line for people; never a secret."""
        raise NotImplementedError


def to_wire(definition: Definition) -> dict[str, Any]:
    """The definition as JSON values, `kind` included."""
    fields = {
        field.name: getattr(definition, field.name) for field in dataclasses.fields(definition)
    }
    return {"kind": definition.kind, **fields, "name": str(definition.name)}


def from_wire(wire: Mapping[str, Any]) -> Definition:
    """The definition a wire form stands for; unknown kinds and fields are refused."""
    fields = dict(wire)
    kind = fields.pop("kind", None)
    if kind not in _kinds:
        raise WireError(
            f'datastore kind "{kind}" is unknown here; a newer version of this package wrote it'
        )
    cls = _kinds[kind]
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise WireError(
            f'"{kind}" has no field "{unknown[0]}" here; a newer version of this package wrote it'
        )
    try:
        return cls(**{**fields, "name": DatastoreName.parse(fields.get("name"))})
    except TypeError as error:
        raise WireError(f'"{kind}" is not complete: {error}; register it again') from error
