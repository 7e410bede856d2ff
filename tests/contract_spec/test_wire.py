"""The job spec's JSON: stable, complete, strict, and the only text that shows a lease."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.contract import (
    Command,
    InputMode,
    InputSpec,
    JobSpec,
    LeaseSpec,
    QuerySpec,
    RowsSpec,
    Script,
    from_json,
    to_json,
)
from datastores.credentials.kinds import AccountKey, Sas
from datastores.errors import DefinitionRejected, WireError
from datastores.secret import Secret
from tests.contract_spec.specs import CANARY, FULL, IMAGES, MINIMAL, SHOP

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(("name", "spec"), [("full", FULL), ("minimal", MINIMAL)])
def test_the_json_is_the_golden_file(name: str, spec: JobSpec) -> None:
    """Version 1 is written as the golden files have it, byte for byte, and reads back equal."""
    golden = (GOLDEN / f"{name}.json").read_text(encoding="utf-8")

    assert to_json(spec) + "\n" == golden
    assert from_json(golden) == spec
    assert from_json(golden.encode()) == spec


def test_what_has_a_default_may_be_left_out() -> None:
    """A spec written by hand needs no more than its run, its experiment and its work."""
    text = '{"version": 1, "run_id": "cats_1", "experiment": "cats", "work": '
    work = '{"kind": "command", "arguments": ["python", "-V"]}}'

    assert from_json(text + work) == MINIMAL


def test_a_newer_version_is_refused_with_a_sentence() -> None:
    """A spec from a newer version names both versions and says what to do; its code is 15."""
    with pytest.raises(WireError) as refused:
        from_json((GOLDEN / "future.json").read_text(encoding="utf-8"))

    assert str(refused.value) == (
        'the job spec has version "2" and this side reads version 1; '
        "use the same version of this package on both sides"
    )
    assert refused.value.exit_code == 15


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("version",), None, 'has version "null"'),
        (("version",), True, 'has version "True"'),
        (("surprise",), 1, '"surprise" of the job spec is a field this side does not know'),
        (("inputs", 1, "mode"), "copy", '"inputs[1].mode" of the job spec is none of "mount"'),
        (("inputs", 1, "mode"), [], '"inputs[1].mode" of the job spec is none of "mount"'),
        (("inputs", 0, "place"), None, '"inputs[0].place" of the job spec is null, not a text'),
        (("inputs", 0, "place"), "../x", None),
        (("inputs", 0, "overwrite"), 1, "is an integer, not true or false"),
        (("inputs",), {}, '"inputs" of the job spec is an object, not a list'),
        (("inputs", 0, "definition", "container"), 5, '"inputs[0].definition'),
        (("inputs", 0, "definition", "endpoint"), 5, '"inputs[0].definition'),
        (("inputs", 0, "definition", "kind"), "Tape", '"inputs[0].definition'),
        (("inputs", 0, "definition", "name"), "a b", '"inputs[0].definition'),
        (("inputs", 0, "lease", "secrets", "token"), 5, '"inputs[0].lease.secrets.token"'),
        (("inputs", 0, "lease", "secrets", "token"), "", '"inputs[0].lease"'),
        (("inputs", 0, "lease", "credential", "kind"), "Magic", '"inputs[0].lease"'),
        (("inputs", 0, "lease", "extra"), 1, '"inputs[0].lease.extra"'),
        (("inputs", 0, "lease", "expires_at"), "soon", '"inputs[0].lease.expires_at"'),
        (("rows", 0, "query", "positional", 0), {}, '"rows[0].query.positional[0]"'),
        (("work", "kind"), "notebook", '"work.kind" of the job spec is none of "script"'),
        (("work", "arguments", 2), 3, '"work.arguments[2]" of the job spec is an integer'),
        (("environment", "MODE"), 1, '"environment.MODE" of the job spec is an integer'),
        (("limits", "grace_seconds"), "long", '"limits.grace_seconds"'),
        (("outputs", 0, "when"), "never", 'is none of "success", "always"'),
        (("outputs", 0, "name"), "train", 'has two references called "train"'),
    ],
)
def test_what_is_wrong_is_named_by_its_path(
    path: tuple[Any, ...], value: object, sentence: str | None
) -> None:
    """A wrong type, an unknown word and an unknown field are refused by their place in the spec."""
    raw = json.loads(to_json(FULL))
    inner = raw
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value

    if sentence is None:
        # Climbing places are judged with the paths.
        assert from_json(json.dumps(raw)).inputs[0].place == value
        return
    with pytest.raises(WireError) as refused:
        from_json(json.dumps(raw))

    assert sentence in str(refused.value)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (("run_id",), '"run_id" of the job spec is missing'),
        (("inputs", 0, "mode"), '"inputs[0].mode" of the job spec is missing'),
        (("inputs", 0, "definition", "name"), '"inputs[0].definition'),
        (("inputs", 0, "definition", "account"), '"inputs[0].definition'),
        (("inputs", 0, "lease", "renew_at"), '"inputs[0].lease.renew_at" of the job spec is miss'),
        (("work", "path"), '"work.path" of the job spec is missing'),
    ],
)
def test_what_is_missing_is_named_by_its_path(path: tuple[Any, ...], sentence: str) -> None:
    """A field without a default must be there."""
    raw = json.loads(to_json(FULL))
    inner = raw
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]

    with pytest.raises(WireError) as refused:
        from_json(json.dumps(raw))

    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"version": 1,\n "run_id": }', "line 2, column 12"),
        (b"\xff\xfe\xfd", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is a list, not an object"),
        ('{"version": NaN}', "holds NaN"),
        ('{"version": 1, "version": 1}', 'has the field "version" twice'),
    ],
)
def test_what_is_no_spec_is_refused(text: str | bytes, sentence: str) -> None:
    """Text that is not JSON, or not an object, ends in one sentence and never in a traceback."""
    with pytest.raises(WireError) as refused:
        from_json(text)

    assert sentence in str(refused.value)


def test_no_spec_prints_its_leases() -> None:
    """The repr of a spec and of its parts shows no secret; only `to_json` does."""
    parts = [FULL, FULL.source, *FULL.references, *(one.lease for one in FULL.references)]

    assert not any(CANARY in text for part in parts for text in (repr(part), str(part)))
    assert to_json(FULL).count(CANARY) == 3


def test_a_broken_spec_does_not_carry_its_leases_into_the_error() -> None:
    """Neither the error nor what it came from holds the text of the spec."""
    with pytest.raises(WireError) as refused:
        from_json(to_json(FULL)[:-3])

    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_account_keys_cannot_travel() -> None:
    """A lease refuses an account key, when it is made and when it is read."""
    with pytest.raises(DefinitionRejected, match="stays at home"):
        LeaseSpec(AccountKey(Secret("a2V5")))

    raw = json.loads(to_json(FULL))
    raw["inputs"][0]["lease"] |= {
        "credential": {"kind": "AccountKey"},
        "secrets": {"key": "a2V5"},
    }
    with pytest.raises(WireError, match="no credential that a job may carry"):
        from_json(json.dumps(raw))


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
leases = st.none() | st.builds(
    LeaseSpec,
    st.builds(Sas, st.builds(Secret, text.filter(bool))),
    st.none() | st.floats(0, 2e9),
)
inputs = st.builds(
    InputSpec,
    text,
    st.sampled_from(InputMode),
    st.just(IMAGES),
    text,
    st.none() | text,
    lease=leases,
)
rows = st.builds(
    RowsSpec,
    text,
    st.just(SHOP),
    st.builds(
        QuerySpec,
        text=text,
        named=st.dictionaries(
            text, scalars.filter(lambda one: one not in (float("inf"), -float("inf")))
        ),
    ),
)


@given(
    text,
    st.builds(Script, text, st.lists(text).map(tuple)) | st.builds(Command, shell=text),
    st.lists(inputs | rows, max_size=4, unique_by=lambda one: one.name),
    st.dictionaries(text, text),
)
def test_every_spec_survives_its_json(
    run_id: str, work: Script | Command, references: list[Any], environment: dict[str, str]
) -> None:
    """Whatever a spec holds, reading its JSON gives an equal spec."""
    spec = dataclasses.replace(
        JobSpec(run_id, "e", work, environment=environment),
        inputs=tuple(one for one in references if isinstance(one, InputSpec)),
        rows=tuple(one for one in references if isinstance(one, RowsSpec)),
    )

    assert from_json(to_json(spec)) == spec
