"""What to read from a database, and its SQL."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

from datastores.errors import DefinitionRejected
from datastores.value import Value


class Dialect(enum.Enum):
    """Whose SQL; the value is SQLAlchemy's name for it."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    SQL_SERVER = "mssql"


class Parameter(Value):
    """An argument of a stored procedure; without a name it goes by its position."""

    value: object
    name: str | None = None


class Query(Value):
    """Exactly one of a table, a query's text, and a stored procedure with its parameters.

    A table or procedure may carry its schema in front (`sales.orders`); a part that holds a dot is
    quoted in any of the three ways (`"a.b"`, `[a.b]`, or backticks). Capitals count.
    Parameters go by name in a mapping, by position in a sequence; an element of a sequence may
    also be a `Parameter`, or anything else with a `name` and a `value`.
    """

    table: str | None = None
    text: str | None = None
    procedure: str | None = None
    parameters: Mapping[str, object] | Sequence[object] | None = None

    def __post_init__(self) -> None:
        given = [part for part in (self.table, self.text, self.procedure) if part is not None]
        if len(given) != 1:
            raise DefinitionRejected(
                "query", "give exactly one of a table, a query text and a stored procedure"
            )
        if not given[0].strip(" \t\r\n;"):
            raise DefinitionRejected("query", "it is empty; name a table or write a SELECT")
        if self.parameters and self.procedure is None:
            raise DefinitionRejected(
                "query", "parameters belong to a stored procedure; name the procedure"
            )
        if len({parameter.name is None for parameter in self.arguments}) > 1:
            raise DefinitionRejected("query", "name all parameters or none of them")
        for name in (self.table, self.procedure):
            if name is not None:
                split_name(name)

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        """The parameters in their one form."""
        if isinstance(self.parameters, Mapping):
            return tuple(Parameter(value, name) for name, value in self.parameters.items())
        return tuple(_argument(given) for given in self.parameters or ())


def _argument(given: object) -> Parameter:
    if hasattr(given, "name") and hasattr(given, "value"):
        return Parameter(given.value, given.name)
    return Parameter(given)


class Statement(Value):
    """SQL with the driver's placeholders, and the values the driver binds to them."""

    text: str
    parameters: tuple[object, ...] = ()


def to_sql(query: Query, dialect: Dialect) -> Statement:
    """The one statement that answers the query."""
    if query.text is not None:
        return Statement(query.text.strip().rstrip("; \t\r\n"))
    if query.table is not None:
        return Statement(f"SELECT * FROM {quote_name(query.table, dialect)}")  # noqa: S608 - quoted
    values = tuple(parameter.value for parameter in query.arguments)
    return Statement(_call(query, dialect), values)


def _call(query: Query, dialect: Dialect) -> str:
    procedure = quote_name(query.procedure or "", dialect)
    slots = [_slot(parameter, dialect) for parameter in query.arguments]
    if slots and dialect is not Dialect.SQL_SERVER:
        procedure = procedure.replace("%", "%%")
    arguments = ", ".join(slots)
    match dialect:
        case Dialect.POSTGRESQL:
            return f"SELECT * FROM {procedure}({arguments})"  # noqa: S608 - quoted; slots only
        case Dialect.MYSQL:
            return f"CALL {procedure}({arguments})"
        case Dialect.SQL_SERVER:
            return f"EXEC {procedure} {arguments}".rstrip()


def _slot(parameter: Parameter, dialect: Dialect) -> str:
    if parameter.name is None:
        return "?" if dialect is Dialect.SQL_SERVER else "%s"
    match dialect:
        case Dialect.POSTGRESQL:
            return f"{_quote(parameter.name, dialect).replace('%', '%%')} => %s"
        case Dialect.SQL_SERVER:
            name = parameter.name.removeprefix("@")
            if not re.fullmatch(r"[\w@$#]+", name):
                raise DefinitionRejected(
                    "query", f'"{parameter.name}" cannot be the name of a parameter'
                )
            return f"@{name} = ?"
        case Dialect.MYSQL:
            # MySQL has no named arguments; the order in which they were given is the order.
            return "%s"


def quote_name(name: str, dialect: Dialect) -> str:
    """A table's or procedure's name with each part quoted, so that nothing in it is SQL."""
    return ".".join(_quote(part, dialect) for part in split_name(name))


def _quote(part: str, dialect: Dialect) -> str:
    match dialect:
        case Dialect.POSTGRESQL:
            return '"' + part.replace('"', '""') + '"'
        case Dialect.MYSQL:
            return "`" + part.replace("`", "``") + "`"
        case Dialect.SQL_SERVER:
            return "[" + part.replace("]", "]]") + "]"


_PART = re.compile(
    r"\"(?P<double>(?:[^\"]|\"\")+)\"|\[(?P<square>(?:[^\]]|\]\])+)\]|`(?P<tick>(?:[^`]|``)+)`"
    r"|(?P<bare>[^.\"\[`]+[^.]*)"
)
_CLOSERS = {"double": '"', "square": "]", "tick": "`"}


def split_name(name: str) -> tuple[str, ...]:
    """The parts of a name that dots separate, without their quotes."""
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(name, position)
        if match is None or "\0" in name:
            raise DefinitionRejected("query", f'"{name}" cannot be a name; write "schema.table"')
        kind = match.lastgroup or "bare"
        part = match[kind]
        closer = _CLOSERS.get(kind)
        parts.append(part.replace(closer * 2, closer) if closer else part.strip())
        position = match.end()
        if position == len(name):
            break
        if name[position] != ".":
            raise DefinitionRejected("query", f'"{name}" cannot be a name; write "schema.table"')
        position += 1
    if len(parts) > 3 or not all(parts):
        raise DefinitionRejected("query", f'"{name}" cannot be a name; write "schema.table"')
    return tuple(parts)
