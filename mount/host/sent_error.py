"""An error on its way to another process: its class, its sentence and its plain facts."""

from __future__ import annotations

from typing import Any

from datastores.errors import DatastoresError
from datastores.secret import redact
from mount.errors import MountError


def error_to_wire(error: BaseException) -> dict[str, Any]:
    """The error as JSON values; what nobody expected goes as a `MountError`."""
    kind = type(error).__name__ if isinstance(error, DatastoresError) else MountError.__name__
    text = str(error) if isinstance(error, DatastoresError) else _unexpected(error)
    facts = {
        name: redact(value) if isinstance(value, str) else value
        for name, value in getattr(error, "__dict__", {}).items()
        if isinstance(value, str | int | float | None)
    }
    return {"error": kind, "message": redact(text), "facts": facts}


def error_of_wire(wire: dict[str, Any]) -> DatastoresError:
    """The same error here; one that only the other side knows comes as a `MountError`."""
    known = {kind.__name__: kind for kind in _kinds(DatastoresError)}
    kind = known.get(str(wire.get("error")), MountError)
    text = str(wire.get("message"))
    error = kind.__new__(kind, text)
    Exception.__init__(error, text)
    facts = wire.get("facts")
    if isinstance(facts, dict):
        error.__dict__.update(facts)
    return error


def _unexpected(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}; look at the host's log"


def _kinds(base: type[DatastoresError]) -> list[type[DatastoresError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _kinds(child))]
