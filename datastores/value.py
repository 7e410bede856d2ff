"""Values: immutable, compared field by field, and dataclasses to whoever asks."""

from __future__ import annotations

import dataclasses
from typing import Any, dataclass_transform

from msgspec import NODEFAULT, Struct, field
from msgspec._core import Factory  # type: ignore[import-not-found]  # has no stub

__all__ = ["Value", "field"]


class _Fields:
    """What `dataclasses` goes by in `replace`, `fields` and `asdict`; made when first asked for."""

    def __init__(self) -> None:
        self._known: dict[type, dict[str, dataclasses.Field[Any]]] = {}

    def __get__(self, one: object, kind: type[Struct]) -> dict[str, dataclasses.Field[Any]]:
        if kind not in self._known:
            self._known[kind] = _fields_of(kind)
        return self._known[kind]


# To make a frozen dataclass takes 0.6 ms, because its methods are compiled then: with 170 of them
# that was a third of an agent's start. A Struct takes 0.02 ms, and an instance of it a seventh.
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value(Struct, frozen=True):
    """Immutable, with the fields that a subclass names: equal if all of them are."""

    __dataclass_fields__ = _Fields()


def _fields_of(kind: type[Struct]) -> dict[str, dataclasses.Field[Any]]:
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    # Defaults are those of the last fields.
    given = (*(NODEFAULT,) * (len(names) - len(defaults)), *defaults)
    lines = [(name, Any, _field(default)) for name, default in zip(names, given, strict=True)]
    made: Any = dataclasses.make_dataclass(
        kind.__name__, lines, init=False, repr=False, eq=False, match_args=False
    )
    found: dict[str, dataclasses.Field[Any]] = made.__dataclass_fields__
    return found


def _field(default: Any) -> Any:
    if default is NODEFAULT:
        return dataclasses.field()
    if isinstance(default, Factory):
        return dataclasses.field(default_factory=default.factory)
    return dataclasses.field(default=default)
