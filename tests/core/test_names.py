"""Names are one spelling each, judged before anything else happens."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.errors import NameRejected
from datastores.names import DatastoreName, WorkspaceName


@pytest.mark.parametrize("text", ["abc", "a_b-c", "0" * 255, "workspaceblobstore"])
def test_lawful_names_stay_as_they_are(text: str) -> None:
    """A name that follows the rule is its own spelling."""
    assert DatastoreName.parse(text) == text


@pytest.mark.parametrize("text", ["", "ab", "a" * 256, "a b c", "a.b.c", "ärger", "a/b/c", "abc\n"])
def test_unlawful_names_are_refused_with_the_rule(text: str) -> None:
    """Whatever breaks the rule is refused with a sentence that states the rule."""
    with pytest.raises(NameRejected) as refused:
        WorkspaceName.parse(text)

    assert str(refused.value) == (
        f'"{text}" cannot be the name of a workspace: '
        "use 3 to 255 of the characters a-z, 0-9, _ and -"
    )


def test_capitals_are_lowered_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Names are case-insensitive: capitals are lowered, and the log says so once."""
    with caplog.at_level(logging.WARNING):
        name = DatastoreName.parse("Images")

    assert name == "images"
    assert [record.getMessage() for record in caplog.records] == [
        'datastore names have no capitals: "Images" is stored as "images"'
    ]


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=300))
def test_parsing_is_idempotent(text: str) -> None:
    """A name that was accepted once is accepted again, unchanged."""
    try:
        name = DatastoreName.parse(text)
    except NameRejected:
        return
    assert DatastoreName.parse(str(name)) == name
