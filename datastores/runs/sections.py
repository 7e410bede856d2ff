"""Sections of a run configuration: objects with fixed attributes, and the layout of their files."""

from __future__ import annotations

import dataclasses
import functools
import logging
import types
import typing
from collections.abc import Mapping
from typing import Any

from datastores.errors import ConfigRejected
from datastores.references import DataReferenceConfiguration
from datastores.secret import MASK, Secret
from datastores.value import Value

log = logging.getLogger(__name__)


class Section:
    """A part of a run configuration; setting an attribute it does not have is an error."""

    __slots__ = ("_unknown",)

    # Keys of a file that this version does not know, so that saving loses nothing.
    _unknown: dict[str, Any]

    def settle(self) -> None:
        """Bring values into their one spelling; called after construction and after loading."""

    def __post_init__(self) -> None:
        self.settle()


class Entry(Value):
    """One value of a section: its attribute, its key in files, its type."""

    attribute: str
    key: str
    hint: Any


def key(text: str) -> dict[str, str]:
    """Metadata of a field whose key in files is not its name in camel case; "" is not stored."""
    return {"key": text}


# The one section that is not a dataclass of ours, in the order that Azure ML writes.
_REFERENCE = (
    Entry("data_store_name", "dataStoreName", str | None),
    Entry("path_on_data_store", "pathOnDataStore", str | None),
    Entry("mode", "mode", str),
    Entry("overwrite", "overwrite", bool),
    Entry("path_on_compute", "pathOnCompute", str | None),
)


@functools.cache
def entries(cls: Any) -> tuple[Entry, ...]:
    """The values of a section class, in the order of its file."""
    if cls is DataReferenceConfiguration:
        return _REFERENCE
    hints = typing.get_type_hints(cls)
    named = (
        (field.name, field.metadata.get("key", _camel(field.name)))
        for field in dataclasses.fields(cls)
    )
    return tuple(Entry(name, stored, hints[name]) for name, stored in named if stored)


def is_section(value: Any) -> bool:
    """Whether a value, or a class, has a layout."""
    cls = value if isinstance(value, type) else type(value)
    return issubclass(cls, Section | DataReferenceConfiguration)


def to_disk(value: Any, *, reveal: bool = False) -> Any:
    """A section as plain values; its secrets are masked unless they are asked for."""
    if is_section(value):
        found = {
            entry.key: to_disk(getattr(value, entry.attribute), reveal=reveal)
            for entry in entries(_class(value))
        }
        return found | getattr(value, "_unknown", {})
    if isinstance(value, Mapping):
        return {str(name): to_disk(one, reveal=reveal) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_disk(one, reveal=reveal) for one in value]
    if isinstance(value, Secret):
        return value.reveal() if reveal else MASK
    return value


def from_disk(cls: Any, raw: Any, file: str, where: str = "") -> Any:
    """The section that plain values stand for; a wrong type is refused by its path in the file.

    Keys may be in camel or in snake case. Unknown ones are kept with a warning.
    """
    if not isinstance(raw, Mapping):
        raise _misfit(file, where, raw, "a mapping")
    known = {_plain(entry.key): entry for entry in entries(cls)}
    section, unknown = cls(), {}
    for name, value in raw.items():
        entry = known.get(_plain(str(name)))
        path = f"{where}.{name}" if where else str(name)
        if entry is None:
            log.warning('configuration "%s": "%s" is unknown here and kept as it is', file, path)
            unknown[str(name)] = value
        elif value is not None or types.NoneType in typing.get_args(entry.hint):
            setattr(section, entry.attribute, _value(entry.hint, value, file, path))
    if isinstance(section, Section):
        section._unknown = unknown
        section.settle()
    return section


def clone(value: Any) -> Any:
    """A copy of all containers; what they hold at the end, such as datastores, is shared."""
    if is_section(value):
        copy = object.__new__(type(value))
        names = (
            [field.name for field in dataclasses.fields(value)] + ["_unknown"]
            if dataclasses.is_dataclass(value)
            else list(type(value).__slots__)
        )
        for name in names:
            if hasattr(value, name):
                setattr(copy, name, clone(getattr(value, name)))
        return copy
    if isinstance(value, dict):
        return {name: clone(one) for name, one in value.items()}
    if isinstance(value, list):
        return [clone(one) for one in value]
    return value


def _value(hint: Any, raw: Any, file: str, where: str) -> Any:
    arguments = [one for one in typing.get_args(hint) if one is not types.NoneType]
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if raw is None:
            return None
        return _value(_option(arguments, raw), raw, file, where)
    if origin is list:
        if not isinstance(raw, list):
            raise _misfit(file, where, raw, "a list")
        return [_value(arguments[0], one, file, f"{where}[{i}]") for i, one in enumerate(raw)]
    if origin is dict:
        if not isinstance(raw, Mapping):
            raise _misfit(file, where, raw, "a mapping")
        return {str(k): _value(arguments[1], v, file, f"{where}.{k}") for k, v in raw.items()}
    if is_section(hint):
        return from_disk(hint, raw, file, where)
    return _scalar(hint, raw, file, where)


def _option(options: list[Any], raw: Any) -> Any:
    """The first section that knows all keys, or else the first of all."""
    if isinstance(raw, Mapping) and all(map(is_section, options)):
        keys = {_plain(str(name)) for name in raw}
        for option in options:
            if keys <= {_plain(entry.key) for entry in entries(option)}:
                return option
    return options[0]


_NOUNS = {str: "a text", int: "an integer", bool: "true or false", Secret: "a text"}


def _scalar(hint: Any, raw: Any, file: str, where: str) -> Any:
    if hint is Any:
        return raw
    if hint is Secret:
        return Secret.wrap(str(raw))
    if hint is str and raw is None:
        return ""
    if hint is str and isinstance(raw, int | float):
        # `A: 1` and `A: true` in a file mean the texts; YAML's spelling, not Python's.
        return str(raw).lower() if isinstance(raw, bool) else str(raw)
    if type(raw) is not hint:
        raise _misfit(file, where, raw, _NOUNS[hint])
    return raw


def _misfit(file: str, where: str, raw: Any, wanted: str) -> ConfigRejected:
    shown = f'"{raw}"' if isinstance(raw, str | int | float) else f"a {type(raw).__name__}"
    place = f'"{where}"' if where else "the whole file"
    return ConfigRejected(file, f"{place} is {shown} and must be {wanted}; correct it")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def _class(value: Any) -> Any:
    return type(value)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
