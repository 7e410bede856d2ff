"""Places have one spelling, and keys never leave the folder they are copied to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.errors import NameRejected
from datastores.keys import is_below, local_target, parse_place, relative


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (None, ""),
        ("", ""),
        ("/", ""),
        (".", ""),
        ("./", ""),
        ("/bar", "bar"),
        ("./bar", "bar"),
        ("bar/", "bar"),
        (".//bar", "bar"),
        ("\\bar", "bar"),
        ("a/./b", "a/b"),
        ("a//b", "a//b"),
        (".hidden", ".hidden"),
        ("...", "..."),
        (".../a", ".../a"),
        ("~/a", "~/a"),
    ],
)
def test_spellings_of_one_place_are_one_place(text: str | None, place: str) -> None:
    """`/bar`, `./bar`, `bar/` and `bar` name one place; names that only look like it do not."""
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["..", "../a", "a/..", "a/../b", "./../a", "a\0b"])
def test_places_that_climb_are_refused(text: str) -> None:
    """A place with `..` or NUL is refused, wherever it would have led."""
    with pytest.raises(NameRejected):
        parse_place(text)


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "..", "/etc/passwd", "a//b", "a/./b", "a/", "", "a\0b"]
)
def test_keys_that_would_leave_the_folder_are_refused(key: str) -> None:
    """A key that would be written outside its folder, or onto another's name, is refused."""
    with pytest.raises(NameRejected) as refused:
        local_target(Path("/data"), key)

    assert refused.value.name == key


@given(st.text(max_size=60))
def test_no_key_escapes(key: str) -> None:
    """Whatever a store calls an object, its local file is strictly below the target folder."""
    root = Path("/data/target")
    try:
        target = local_target(root, key)
    except NameRejected:
        return
    assert Path(*target.parts[: len(root.parts)]) == root
    assert ".." not in target.parts
    assert target != root


def test_a_folder_is_not_its_namesake() -> None:
    """`foobar` is not below `foo`; `foo` and `foo/bar` are."""
    keys = ["foo", "foo/bar", "foobar", "foo-1/x"]

    assert [key for key in keys if is_below(key, "foo")] == ["foo", "foo/bar"]
    assert relative("foo/bar", "foo") == "bar"
    assert relative("a/foo", "a/foo") == "foo"
