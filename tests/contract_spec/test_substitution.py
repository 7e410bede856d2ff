"""`$AZUREML_DATAREFERENCE_x` becomes a path, exactly where it is meant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath as Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datastores.contract import lay_out, substitute, substitute_in_shell, variables
from datastores.contract.substitution import VARIABLE_PREFIX
from datastores.references import VARIABLE_PREFIX as REFERENCE_PREFIX
from tests.contract_spec.specs import FULL

P = "$" + VARIABLE_PREFIX
PATHS = {"data": Path("/w/data"), "data-x": Path("/w/x y"), "a b/c-é": Path("/w/odd")}


def test_the_prefix_is_that_of_references() -> None:
    """References print what the agent replaces."""
    assert VARIABLE_PREFIX == REFERENCE_PREFIX


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (f"{P}data", "/w/data"),
        (f"{P}data/train.csv", "/w/data/train.csv"),
        (f"--in={P}data,{P}data-x", "--in=/w/data,/w/x y"),
        (f"{P}data-y", "/w/data-y"),
        (f"{P}data2", f"{P}data2"),
        (f"{P}data_2", f"{P}data_2"),
        (f"{P}Data", f"{P}Data"),
        (f"{P}", f"{P}"),
        (f"{P}a b/c-é!", "/w/odd!"),
        ("${AZUREML_DATAREFERENCE_data}2", "/w/data2"),
        ("${AZUREML_DATAREFERENCE_data", "${AZUREML_DATAREFERENCE_data"),
        ("${AZUREML_DATAREFERENCE_other}", "${AZUREML_DATAREFERENCE_other}"),
        ("AZUREML_DATAREFERENCE_data", "AZUREML_DATAREFERENCE_data"),
        (f"${P}data", "$/w/data"),
        ("$HOME", "$HOME"),
    ],
)
def test_known_names_are_replaced_and_nothing_else(text: str, want: str) -> None:
    """The longest known name wins, it ends where the word ends, unknown names stay."""
    assert substitute(text, PATHS) == want


def test_the_shell_replaces_what_it_can_by_itself() -> None:
    """In a text for the shell only names no variable can have are replaced, and quoted."""
    text = f'cat "{P}data" {P}data-x/f ${{{VARIABLE_PREFIX}data-x}}'

    assert substitute_in_shell(text, PATHS) == f"cat \"{P}data\" '/w/x y'/f '/w/x y'"


def test_variables_of_a_job() -> None:
    """The script finds its own variables substituted, its run, and each path under both names."""
    paths = lay_out(FULL.references, Path("/job"))

    found = variables(FULL, paths)

    assert found == {
        "MODE": "é",
        "AZUREML_RUN_ID": "cats_2",
        **{VARIABLE_PREFIX + name: str(path) for name, path in paths.items()},
        **{f"AZURE_ML_INPUT_{name}": str(paths[name]) for name in ("train", "labels", "orders")},
        **{f"AZURE_ML_OUTPUT_{name}": str(paths[name]) for name in ("model", "logs")},
    }


def read_by_hand(text: str, paths: Mapping[str, Path]) -> str:
    """The rule again, letter by letter."""
    done, rest = "", text
    while rest:
        for name in sorted(paths, key=len, reverse=True):
            braced, plain = "${" + VARIABLE_PREFIX + name + "}", P + name
            if rest.startswith(braced):
                done, rest = done + str(paths[name]), rest[len(braced) :]
                break
            after = rest[len(plain) : len(plain) + 1]
            if rest.startswith(plain) and not (after.isalnum() or after == "_"):
                done, rest = done + str(paths[name]), rest[len(plain) :]
                break
        else:
            done, rest = done + rest[0], rest[1:]
    return done


names = st.text("ab-_ .é", min_size=1, max_size=4)
pieces = st.sampled_from(
    [P, "${" + VARIABLE_PREFIX, "}", "$", "a", "b", "ab", "-", "_", " ", "/", "é"]
)


@given(
    st.dictionaries(names, st.sampled_from([Path("/w/1"), Path("/w/$2"), Path(f"/{P}a")])),
    st.lists(pieces, max_size=12).map("".join),
)
@example({"a": Path("/1"), "a-b": Path("/2")}, f"{P}a-b{P}a-bb")
def test_substitution_is_what_reading_by_hand_gives(paths: dict[str, Path], text: str) -> None:
    """For any names and any text the result is that of the rule applied letter by letter, once."""
    assert substitute(text, paths) == read_by_hand(text, paths)
