"""Values of the contract as plain JSON values, and back: written in full, read strictly."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, NoReturn

from datastores.contract.leases import LeaseSpec, lease_of_wire, lease_to_wire
from datastores.definitions import Definition, from_wire, to_wire
from datastores.errors import DatastoresError, WireError

ADVICE = "use the same version of this package on both sides"


class Misfit(Exception):
    """What is wrong with a message and where; never the value itself, which may be a secret."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(path, reason)

    def about(self, message: str) -> WireError:
        """The sentence for people, for a message that is called so."""
        where = f'"{self.path}" of {message}' if self.path else message
        return WireError(f"{where} {self.reason}; {ADVICE}")


def load(text: str | bytes, message: str, version: int, advice: str) -> dict[str, Any]:
    """The fields of a message, its version taken off; `WireError` for what is none of this version.

    `Misfit` for what JSON allows and this wire does not.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        # From None: the cause carries the whole text, leases included.
        raise WireError(
            f"{message} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}; "
            f"{advice}"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise WireError(f"{message} is not JSON text; {advice}") from None
    if not isinstance(raw, dict):
        raise Misfit("", f"is {_kind(raw)}, not an object")
    found = raw.pop("version", None)
    if type(found) is not int or found != version:
        shown = found if isinstance(found, int | str) else _kind(found)
        raise WireError(
            f'{message} has version "{shown}" and this side reads version {version}; {ADVICE}'
        )
    return raw


def encode(value: Any) -> Any:  # noqa: PLR0911  # one line for each shape
    """The value as JSON has it, leases in clear."""
    match value:
        case Definition():
            return to_wire(value)
        case LeaseSpec():
            return lease_to_wire(value)
        case enum.Enum():
            return value.value
        case tuple():
            return [encode(one) for one in value]
        case Mapping():
            return {key: encode(one) for key, one in value.items()}
        case _ if dataclasses.is_dataclass(value):
            tag = {"kind": value.kind} if hasattr(value, "kind") else {}
            names = (field.name for field in dataclasses.fields(value))
            return tag | {name: encode(getattr(value, name)) for name in names}
        case _:
            return value


def decode(hint: Any, raw: Any, path: str) -> Any:  # noqa: PLR0911  # one for each shape
    """The value of this type; `Misfit` names the path of what is unknown or of a wrong type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _decode_union(arguments, raw, path)
    if origin is tuple:
        items = _wanted(list, raw, path)
        return tuple(decode(arguments[0], one, f"{path}[{i}]") for i, one in enumerate(items))
    if origin is not None:
        entries = _wanted(dict, raw, path)
        return {key: decode(arguments[1], one, _join(path, key)) for key, one in entries.items()}
    if hint is Definition:
        return _definition(_wanted(dict, raw, path), path)
    if hint is LeaseSpec:
        return _lease(_wanted(dict, raw, path), path)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choice(hint, raw, path)
    if dataclasses.is_dataclass(hint):
        return _record(hint, _wanted(dict, raw, path), path)
    return _wanted(hint, raw, path)


def _decode_union(options: tuple[Any, ...], raw: Any, path: str) -> Any:
    if raw is None and types.NoneType in options:
        return None
    real = [option for option in options if option is not types.NoneType]
    if len(real) == 1:
        return decode(real[0], raw, path)
    if not dataclasses.is_dataclass(real[0]):
        if type(raw) not in real:
            raise Misfit(path, f"is {_kind(raw)}, not a plain value")
        return _wanted(type(raw), raw, path)
    fields = dict(_wanted(dict, raw, path))
    kind = fields.pop("kind", None)
    for option in real:
        if option.kind == kind:
            return _record(option, fields, path)
    known = ", ".join(f'"{option.kind}"' for option in real)
    raise Misfit(_join(path, "kind"), f"is none of {known}")


def _record(cls: Any, raw: Mapping[str, Any], path: str) -> Any:
    hints = _hints(cls)
    for key in raw:
        if key not in hints:
            raise Misfit(_join(path, key), "is a field this side does not know")
    for field in dataclasses.fields(cls):
        is_optional = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if field.name not in raw and not is_optional:
            raise Misfit(_join(path, field.name), "is missing")
    return cls(**{key: decode(hints[key], raw[key], _join(path, key)) for key in raw})


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _definition(raw: Mapping[str, Any], path: str) -> Definition:
    try:
        found = from_wire(raw)
    except KeyError as error:
        raise Misfit(_join(path, str(error.args[0])), "is missing") from None
    except (TypeError, AttributeError):
        raise Misfit(path, "does not have the fields of its kind") from None
    except DatastoresError as error:
        raise Misfit(path, f"is refused: {error}") from None
    cls: Any = type(found)
    for name, hint in _hints(cls).items():
        if name != "name":
            decode(hint, getattr(found, name), _join(path, name))
    return found


def _lease(raw: Mapping[str, Any], path: str) -> LeaseSpec:
    wanted = {
        "credential": dict[str, typing.Any],
        "secrets": dict[str, str],
        "expires_at": float | None,
        "renew_at": float | None,
    }
    for key in [*raw, *wanted]:
        if key not in wanted:
            raise Misfit(_join(path, key), "is a field this side does not know")
        if key not in raw:
            raise Misfit(_join(path, key), "is missing")
    fields = {key: decode(hint, raw[key], _join(path, key)) for key, hint in wanted.items()}
    try:
        return lease_of_wire(**fields)
    except WireError as error:
        raise Misfit(path, f"is refused: {error}") from None


def _choice(hint: type[enum.Enum], raw: Any, path: str) -> enum.Enum:
    for member in hint:
        if member.value == raw:
            return member
    known = ", ".join(f'"{member.value}"' for member in hint)
    raise Misfit(path, f"is none of {known}")


def _wanted(hint: Any, raw: Any, path: str) -> Any:
    if hint is typing.Any:
        return raw
    if hint is float and type(raw) is int:
        return float(raw)
    if type(raw) is not hint:
        raise Misfit(path, f"is {_kind(raw)}, not {_NOUNS[hint]}")
    if hint is float and not math.isfinite(raw):
        raise Misfit(path, "is not a finite number")
    return raw


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Misfit("", f'has the field "{key}" twice in one object')
        found[key] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise Misfit("", f"holds {text}, which is not a number of JSON")


_NOUNS = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    types.NoneType: "null",
}


def _kind(raw: Any) -> str:
    return _NOUNS.get(type(raw), "something else")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
