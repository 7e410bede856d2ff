"""How references are called, and that no two in one run are called the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Protocol, TypeVar

from datastores.errors import DefinitionRejected, NameRejected

VARIABLE_PREFIX = "AZUREML_DATAREFERENCE_"
MODES = ("mount", "download", "upload")


class NamedPlace(Protocol):
    """Anything that has a datastore's name."""

    @property
    def name(self) -> str: ...


class Named(Protocol):
    """A reference, as far as its name and its description go."""

    data_reference_name: str

    @property
    def display(self) -> str: ...


Reference = TypeVar("Reference", bound=Named)


def reference_name(given: str | None, datastore: NamedPlace, *, is_root: bool) -> str:
    """The given name, the datastore's for its root, or 32 hexadecimal digits."""
    if given:
        # Azure ML takes any text here; these three no environment variable can carry.
        if any(mark in given for mark in "=\0\n"):
            raise NameRejected("data reference", given, 'it cannot hold "=", NUL or a line end')
        return given
    return str(datastore.name) if is_root else uuid.uuid4().hex


def parse_mode(name: str, mode: str) -> str:
    """The mode, if there is one of that spelling."""
    if mode not in MODES:
        raise DefinitionRejected(
            name, f'mode "{mode}" is unknown; use "mount", "download" or "upload"'
        )
    return mode


def collect(references: Iterable[Reference]) -> dict[str, Reference]:
    """References by name; two different ones of one name are refused, and both are named."""
    found: dict[str, Reference] = {}
    for reference in references:
        name = reference.data_reference_name
        other = found.setdefault(name, reference)
        if other is not reference:
            raise DefinitionRejected(
                name,
                f"two references of one run have this name, {other.display} and "
                f'{reference.display}; give one a name: datastore.path("...", "name")',
            )
    return found
