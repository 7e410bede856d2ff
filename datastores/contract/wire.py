"""The JSON of job specs: written in full, read strictly."""

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

from datastores.contract.job import JobSpec
from datastores.contract.leases import LeaseSpec, lease_of_wire, lease_to_wire
from datastores.definitions import Definition, from_wire, to_wire
from datastores.errors import DatastoresError, WireError

VERSION = 1

_ADVICE = "use the same version of this package on both sides"


def to_json(spec: JobSpec) -> str:
    """The spec as JSON, leases in clear: hand it to the agent, and do not keep it."""
    return json.dumps({"version": VERSION, **_encode(spec)}, indent=2, ensure_ascii=False)


def from_json(text: str | bytes) -> JobSpec:
    """The spec a JSON text stands for; what is unknown or of a wrong type is refused by its path."""
    try:
        raw = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        # From None: the cause carries the whole text, leases included.
        raise WireError(
            f"the job spec is not JSON: line {error.lineno}, column {error.colno}: {error.msg}; "
            f"write it with to_json"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise WireError("the job spec is not JSON text; write it with to_json") from None
    if not isinstance(raw, dict):
        raise _misfit("", f"is {_kind(raw)}, not an object")
    version = raw.pop("version", None)
    if type(version) is not int or version != VERSION:
        shown = version if isinstance(version, int | str) else _kind(version)
        raise WireError(
            f'the job spec has version "{shown}" and this side reads version {VERSION}; {_ADVICE}'
        )
    spec: JobSpec = _decode(JobSpec, raw, "")
    names = [reference.name for reference in spec.references]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _misfit("", f'has two references called "{name}"')
    return spec


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _misfit("", f'has the field "{key}" twice in one object')
        found[key] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise _misfit("", f"holds {text}, which is not a number of JSON")


def _encode(value: Any) -> Any:  # noqa: PLR0911  # one line for each shape
    match value:
        case Definition():
            return to_wire(value)
        case LeaseSpec():
            return lease_to_wire(value)
        case enum.Enum():
            return value.value
        case tuple():
            return [_encode(one) for one in value]
        case Mapping():
            return {key: _encode(one) for key, one in value.items()}
        case _ if dataclasses.is_dataclass(value):
            tag = {"kind": value.kind} if hasattr(value, "kind") else {}
            names = (field.name for field in dataclasses.fields(value))
            return tag | {name: _encode(getattr(value, name)) for name in names}
        case _:
            return value


def _decode(hint: Any, raw: Any, path: str) -> Any:  # noqa: PLR0911  # one for each shape
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _decode_union(arguments, raw, path)
    if origin is tuple:
        items = _wanted(list, raw, path)
        return tuple(_decode(arguments[0], one, f"{path}[{i}]") for i, one in enumerate(items))
    if origin is not None:
        entries = _wanted(dict, raw, path)
        return {key: _decode(arguments[1], one, _join(path, key)) for key, one in entries.items()}
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
        return _decode(real[0], raw, path)
    if not dataclasses.is_dataclass(real[0]):
        if type(raw) not in real:
            raise _misfit(path, f"is {_kind(raw)}, not a plain value")
        return _wanted(type(raw), raw, path)
    fields = dict(_wanted(dict, raw, path))
    kind = fields.pop("kind", None)
    for option in real:
        if option.kind == kind:
            return _record(option, fields, path)
    known = ", ".join(f'"{option.kind}"' for option in real)
    raise _misfit(_join(path, "kind"), f"is none of {known}")


def _record(cls: Any, raw: Mapping[str, Any], path: str) -> Any:
    hints = _hints(cls)
    for key in raw:
        if key not in hints:
            raise _misfit(_join(path, key), "is a field this side does not know")
    for field in dataclasses.fields(cls):
        is_optional = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if field.name not in raw and not is_optional:
            raise _misfit(_join(path, field.name), "is missing")
    return cls(**{key: _decode(hints[key], raw[key], _join(path, key)) for key in raw})


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _definition(raw: Mapping[str, Any], path: str) -> Definition:
    try:
        found = from_wire(raw)
    except KeyError as error:
        raise _misfit(_join(path, str(error.args[0])), "is missing") from None
    except (TypeError, AttributeError):
        raise _misfit(path, "does not have the fields of its kind") from None
    except DatastoresError as error:
        raise _misfit(path, f"is refused: {error}") from None
    cls: Any = type(found)
    for name, hint in _hints(cls).items():
        if name != "name":
            _decode(hint, getattr(found, name), _join(path, name))
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
            raise _misfit(_join(path, key), "is a field this side does not know")
        if key not in raw:
            raise _misfit(_join(path, key), "is missing")
    fields = {key: _decode(hint, raw[key], _join(path, key)) for key, hint in wanted.items()}
    try:
        return lease_of_wire(**fields)
    except WireError as error:
        raise _misfit(path, f"is refused: {error}") from None


def _choice(hint: type[enum.Enum], raw: Any, path: str) -> enum.Enum:
    for member in hint:
        if member.value == raw:
            return member
    known = ", ".join(f'"{member.value}"' for member in hint)
    raise _misfit(path, f"is none of {known}")


def _wanted(hint: Any, raw: Any, path: str) -> Any:
    if hint is typing.Any:
        return raw
    if hint is float and type(raw) is int:
        return float(raw)
    if type(raw) is not hint:
        raise _misfit(path, f"is {_kind(raw)}, not {_NOUNS[hint]}")
    if hint is float and not math.isfinite(raw):
        raise _misfit(path, "is not a finite number")
    return raw


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


def _misfit(path: str, reason: str) -> WireError:
    # Never the value itself: it may be a secret in the wrong place.
    where = f'"{path}" of the job spec' if path else "the job spec"
    return WireError(f"{where} {reason}; {_ADVICE}")
