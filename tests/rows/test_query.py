"""Queries as SQL of each dialect."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.errors import DefinitionRejected
from datastores.storage.rows.query import (
    Dialect,
    Parameter,
    Query,
    Statement,
    quote_name,
    split_name,
    to_sql,
)


@pytest.mark.parametrize(
    ("dialect", "want"),
    [
        (Dialect.POSTGRESQL, 'SELECT * FROM "sales"."or""der; --"'),
        (Dialect.MYSQL, 'SELECT * FROM `sales`.`or"der; --`'),
        (Dialect.SQL_SERVER, 'SELECT * FROM [sales].[or"der; --]'),
    ],
)
def test_table(dialect: Dialect, want: str) -> None:
    """A table's schema and name are quoted one by one, so that nothing in them is SQL."""
    assert to_sql(Query(table='sales.or"der; --'), dialect) == Statement(want)


@pytest.mark.parametrize(
    ("dialect", "want"),
    [
        (Dialect.POSTGRESQL, 'SELECT * FROM "hr"."pay%%"("day" => %s, "bonus" => %s)'),
        (Dialect.MYSQL, "CALL `hr`.`pay%%`(%s, %s)"),
        (Dialect.SQL_SERVER, "EXEC [hr].[pay%] @day = ?, @bonus = ?"),
    ],
)
def test_procedure_with_names(dialect: Dialect, want: str) -> None:
    """Named parameters become placeholders, and their values never become SQL."""
    query = Query(procedure="hr.pay%", parameters={"day": "'; DROP", "bonus": 2})

    assert to_sql(query, dialect) == Statement(want, ("'; DROP", 2))


@pytest.mark.parametrize(
    ("dialect", "want"),
    [
        (Dialect.POSTGRESQL, 'SELECT * FROM "p%"()'),
        (Dialect.MYSQL, "CALL `p%`()"),
        (Dialect.SQL_SERVER, "EXEC [p%]"),
    ],
)
def test_procedure_without_parameters(dialect: Dialect, want: str) -> None:
    """Without parameters there are no placeholders, so a percent sign stays itself."""
    assert to_sql(Query(procedure="p%"), dialect) == Statement(want)


def test_parameters_of_the_sdk() -> None:
    """Anything with a name and a value is a named parameter, as the SDK's class is."""
    query = Query(procedure="p", parameters=[SimpleNamespace(name="a", value=1, type="Int")])

    assert query.arguments == (Parameter(1, "a"),)


def test_text() -> None:
    """A query's text is kept as written but for the semicolon at its end."""
    query = Query(text="  SELECT '%s; ?' AS x ;\n; ")

    assert to_sql(query, Dialect.POSTGRESQL) == Statement("SELECT '%s; ?' AS x")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "exactly one"),
        ({"table": "a", "text": "b"}, "exactly one"),
        ({"text": " ; "}, "empty"),
        ({"table": "a..b"}, "cannot be a name"),
        ({"table": "a.b.c.d"}, "cannot be a name"),
        ({"table": "a\0b"}, "cannot be a name"),
        ({"table": '"a"b'}, "cannot be a name"),
        ({"table": "a", "parameters": [1]}, "name the procedure"),
        ({"procedure": "a", "parameters": [1, Parameter(2, "b")]}, "all parameters or none"),
    ],
)
def test_refusals(fields: dict[str, object], reason: str) -> None:
    """What cannot be one query is refused with its reason."""
    with pytest.raises(DefinitionRejected, match=reason):
        Query(**fields)  # type: ignore[arg-type]  # wrong on purpose


def test_a_parameter_cannot_carry_sql() -> None:
    """A parameter's name that is not a word is refused where it could not be quoted."""
    query = Query(procedure="p", parameters={"a = 1; DROP TABLE t; --": 1})

    with pytest.raises(DefinitionRejected, match="cannot be the name of a parameter"):
        to_sql(query, Dialect.SQL_SERVER)


PARTS = st.lists(
    st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=1, max_size=3
)


@given(PARTS, st.sampled_from(Dialect))
def test_quoting_is_reversible(parts: list[str], dialect: Dialect) -> None:
    """Every name survives quoting, so no character in it can end its quotes."""
    name = ".".join('"' + part.replace('"', '""') + '"' for part in parts)

    assert split_name(quote_name(name, dialect)) == tuple(parts)
