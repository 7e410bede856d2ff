"""What a driver's error means to the person who reads it."""

from __future__ import annotations

import enum
import re

from datastores.definitions import MySql, PostgreSql, SqlDatabase
from datastores.errors import (
    CredentialRefused,
    DatastoresError,
    DefinitionRejected,
    NotFound,
    PermissionDenied,
    StoreError,
    Unavailable,
)
from datastores.secret import redact

_Definition = PostgreSql | MySql | SqlDatabase


class _Meaning(enum.Enum):
    UNREACHABLE = enum.auto()
    INTERRUPTED = enum.auto()
    REFUSED = enum.auto()
    NO_DATABASE = enum.auto()
    NO_TLS = enum.auto()
    TLS_WANTED = enum.auto()
    UNTRUSTED = enum.auto()
    NOT_ADMITTED = enum.auto()
    DENIED = enum.auto()
    NO_OBJECT = enum.auto()
    BAD_QUERY = enum.auto()
    OTHER = enum.auto()


def translate(error: Exception, definition: _Definition) -> DatastoresError:
    """The project's error for a driver's, in one line, with nothing secret in it."""
    text = _one_line(error)
    match definition:
        case PostgreSql():
            meaning = _postgresql_meaning(getattr(error, "pgcode", None), text)
        case MySql():
            meaning = _mysql_meaning(error, text)
        case SqlDatabase():
            meaning = _sql_server_meaning(error, text)
    return _express(meaning, text, definition)


def _one_line(error: Exception) -> str:
    parts = [part for part in error.args if isinstance(part, str) and not part.isdigit()]
    lines = (parts[-1] if parts else "").strip().splitlines()
    # PostgreSQL shows a piece of the query in the lines that follow, with the user's data in it.
    return redact(lines[0])[:500] if lines else type(error).__name__


# libpq reports a failed login as text alone, without an SQLSTATE. First match wins.
_POSTGRESQL_LOGIN = (
    (r"server does not support SSL", _Meaning.NO_TLS),
    (r"certificate|root\.crt|SSL error", _Meaning.UNTRUSTED),
    (r"no pg_hba\.conf entry.*no encryption|SSL (connection )?is required", _Meaning.TLS_WANTED),
    (r"no pg_hba\.conf entry", _Meaning.NOT_ADMITTED),
    (r"permission denied for database", _Meaning.DENIED),
    (r"authentication failed|no password supplied|role \".*\" does not exist", _Meaning.REFUSED),
    (r"database \".*\" does not exist", _Meaning.NO_DATABASE),
    (r"terminating connection|closed the connection unexpectedly|lost sync", _Meaning.INTERRUPTED),
)
# By the longest beginning of the SQLSTATE.
_POSTGRESQL_STATES = {
    "08": _Meaning.INTERRUPTED,
    "28": _Meaning.REFUSED,
    "3D": _Meaning.NO_DATABASE,
    "3F": _Meaning.NO_OBJECT,
    "42501": _Meaning.DENIED,
    "42P01": _Meaning.NO_OBJECT,
    "42883": _Meaning.NO_OBJECT,
    "0A": _Meaning.BAD_QUERY,
    "21": _Meaning.BAD_QUERY,
    "22": _Meaning.BAD_QUERY,
    "25": _Meaning.BAD_QUERY,
    "42": _Meaning.BAD_QUERY,
    "P0": _Meaning.BAD_QUERY,
    "40": _Meaning.INTERRUPTED,
    "53": _Meaning.INTERRUPTED,
    "55": _Meaning.INTERRUPTED,
    "57": _Meaning.INTERRUPTED,
    "58": _Meaning.INTERRUPTED,
}


def _postgresql_meaning(state: str | None, text: str) -> _Meaning:
    if state is None:
        found = (meaning for shape, meaning in _POSTGRESQL_LOGIN if re.search(shape, text))
        return next(found, _Meaning.UNREACHABLE)
    if state == "42883" and "operator does not exist" in text:
        return _Meaning.BAD_QUERY
    return _POSTGRESQL_STATES.get(state, _POSTGRESQL_STATES.get(state[:2], _Meaning.OTHER))


_MYSQL_NUMBERS = {
    1040: _Meaning.INTERRUPTED,
    1044: _Meaning.DENIED,
    1045: _Meaning.REFUSED,
    1049: _Meaning.NO_DATABASE,
    1053: _Meaning.INTERRUPTED,
    1130: _Meaning.NOT_ADMITTED,
    1142: _Meaning.DENIED,
    1143: _Meaning.DENIED,
    1146: _Meaning.NO_OBJECT,
    1205: _Meaning.INTERRUPTED,
    1213: _Meaning.INTERRUPTED,
    1227: _Meaning.DENIED,
    1305: _Meaning.NO_OBJECT,
    1317: _Meaning.INTERRUPTED,
    1370: _Meaning.DENIED,
    1698: _Meaning.REFUSED,
    1969: _Meaning.INTERRUPTED,
    2002: _Meaning.UNREACHABLE,
    2003: _Meaning.UNREACHABLE,
    2005: _Meaning.UNREACHABLE,
    2006: _Meaning.INTERRUPTED,
    2013: _Meaning.INTERRUPTED,
    2026: _Meaning.NO_TLS,
    3024: _Meaning.INTERRUPTED,
    3159: _Meaning.TLS_WANTED,
}


def _mysql_meaning(error: Exception, text: str) -> _Meaning:
    number = error.args[0] if error.args else None
    if re.search(r"CERTIFICATE_VERIFY_FAILED|certificate", text):
        return _Meaning.UNTRUSTED
    if isinstance(number, int) and number in _MYSQL_NUMBERS:
        return _MYSQL_NUMBERS[number]
    # Everything else the server numbers from 1000 to 1999 is about the statement.
    return (
        _Meaning.BAD_QUERY if isinstance(number, int) and 1000 <= number < 2000 else _Meaning.OTHER
    )


# SQL Server's own numbers, which its driver puts in brackets at the end of the text.
_SQL_SERVER_NUMBERS = {
    "208": _Meaning.NO_OBJECT,
    "229": _Meaning.DENIED,
    "230": _Meaning.DENIED,
    "916": _Meaning.DENIED,
    "1205": _Meaning.INTERRUPTED,
    "2812": _Meaning.NO_OBJECT,
    "4060": _Meaning.NO_DATABASE,
    "18456": _Meaning.REFUSED,
    "40197": _Meaning.INTERRUPTED,
    "40501": _Meaning.INTERRUPTED,
    "40613": _Meaning.INTERRUPTED,
    "40615": _Meaning.NOT_ADMITTED,
}
_SQL_SERVER_STATES = {
    "08001": _Meaning.UNREACHABLE,
    "08S01": _Meaning.INTERRUPTED,
    "HYT00": _Meaning.UNREACHABLE,
    "HYT01": _Meaning.UNREACHABLE,
    "28000": _Meaning.REFUSED,
    "42S02": _Meaning.NO_OBJECT,
    "42": _Meaning.BAD_QUERY,
    "22": _Meaning.BAD_QUERY,
    "HY": _Meaning.BAD_QUERY,
    "40": _Meaning.INTERRUPTED,
    "08": _Meaning.INTERRUPTED,
}


def _sql_server_meaning(error: Exception, text: str) -> _Meaning:
    if re.search(r"certificate verify failed|SSL Provider", text):
        return _Meaning.UNTRUSTED
    for number in re.findall(r"\((\d+)\)", text):
        if number in _SQL_SERVER_NUMBERS:
            return _SQL_SERVER_NUMBERS[number]
    state = str(error.args[0]) if error.args else ""
    return _SQL_SERVER_STATES.get(state, _SQL_SERVER_STATES.get(state[:2], _Meaning.OTHER))


def _express(meaning: _Meaning, text: str, definition: _Definition) -> DatastoresError:
    store, place = definition.name, f"{definition.host}:{definition.tcp_port}"
    match meaning:
        case _Meaning.UNREACHABLE | _Meaning.INTERRUPTED:
            return Unavailable(store, detail=_absence(meaning, text, place))
        case _Meaning.NO_DATABASE:
            return NotFound(
                store, definition.database, f"{place} has no such database; check its name"
            )
        case _Meaning.NO_TLS | _Meaning.TLS_WANTED | _Meaning.UNTRUSTED:
            return DefinitionRejected(store, _tls_sentence(meaning, text, place))
        case _Meaning.REFUSED:
            return CredentialRefused(
                store, f"{place} does not accept it ({_reason(text)}); give the right one"
            )
        case _Meaning.NOT_ADMITTED:
            return PermissionDenied(
                store, None, f"{place} does not admit this machine: {text}; add it to its firewall"
            )
        case _:
            return _express_answer(meaning, text, store, place)


def _express_answer(meaning: _Meaning, text: str, store: str, place: str) -> DatastoresError:
    match meaning:
        case _Meaning.NO_OBJECT:
            return NotFound(store, _named(text), f"{text}; check the name and its schema")
        case _Meaning.DENIED:
            return PermissionDenied(
                store, _named(text), f"{text}; ask the database's owner for the permission"
            )
        case _Meaning.BAD_QUERY:
            return DefinitionRejected(store, f"the server refuses the query: {text}; correct it")
        case _:
            return StoreError(store, None, f"{place} says: {text}; ask whoever runs it")


def _absence(meaning: _Meaning, text: str, place: str) -> str:
    if meaning is _Meaning.INTERRUPTED:
        return f"{place} broke off: {_reason(text)}; try again"
    return (
        f"no database answers at {place} ({_reason(text)}); check the server's name, that it runs, "
        "and that its firewall admits this machine"
    )


def _tls_sentence(meaning: _Meaning, text: str, place: str) -> str:
    if meaning is _Meaning.NO_TLS:
        return (
            f"{place} does not encrypt connections; switch TLS on there, or register with "
            "enforce_ssl=False if every network in between is trusted"
        )
    if meaning is _Meaning.TLS_WANTED:
        return f"{place} admits encrypted connections only; register with enforce_ssl=True"
    return (
        f"the certificate of {place} is not trusted ({_reason(text)}); name its authority's "
        "certificate in PGSSLROOTCERT (PostgreSQL), SSL_CERT_FILE (MySQL) or the system's "
        "store (SQL Server)"
    )


def _reason(text: str) -> str:
    """The driver's last words, which say why; what stands before repeats the address."""
    return re.split(r"failed: |FATAL:\s+|\[SQL Server\]", text)[-1].strip().rstrip(".")


_KINDS = r"(?:relation|schema|table|view|function|procedure|object|name)\s+"
_NAMED = (
    re.compile(_KINDS + r"['\"`](?P<name>[^'\"]+)['\"`]", re.IGNORECASE),
    re.compile(_KINDS + r"(?P<name>[^'\"\s(]+)", re.IGNORECASE),
)


def _named(text: str) -> str | None:
    """The table, procedure or schema that a message is about."""
    for shape in _NAMED:
        if match := shape.search(text):
            return match["name"].replace("`", "")
    return None
