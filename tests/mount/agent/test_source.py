"""The source folder's way into the working folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mount.agent.jobs import Bench

_LIST = """
    import json, pathlib
    print(json.dumps(sorted(str(p) for p in pathlib.Path().rglob("*") if p.is_file())))
"""


def _fill(source: Path) -> None:
    for name in ("data/big.bin", "lib/a.py", "lib/a.log", "notes.log"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("x")


@pytest.mark.parametrize("rules", [".amlignore", ".gitignore"])
def test_what_the_rules_name_is_not_copied(bench: Bench, rules: str) -> None:
    """A folder that the node sees is copied without what its rules leave out."""
    bench.script(_LIST)
    _fill(bench.source)
    (bench.source / rules).write_text("data/\n*.log\n!notes.log\n")

    ended = bench.start(bench.spec(inputs=(), outputs=())).end()

    assert json.loads(ended.out) == [rules, "lib/a.py", "notes.log", "train.py"]


def test_without_rules_everything_is_copied(bench: Bench) -> None:
    """A folder without rules arrives whole."""
    bench.script(_LIST)
    _fill(bench.source)

    ended = bench.start(bench.spec(inputs=(), outputs=())).end()

    assert json.loads(ended.out) == [
        "data/big.bin",
        "lib/a.log",
        "lib/a.py",
        "notes.log",
        "train.py",
    ]


def test_an_entry_script_that_is_left_out_is_refused(bench: Bench) -> None:
    """The sentence names the file of rules and the line that helps; no run folder is left."""
    bench.script("pass")
    (bench.source / ".amlignore").write_text("*.py\n")

    ended = bench.start(bench.spec(inputs=(), outputs=())).end()

    assert (ended.code, bench.run.exists()) == (3, False)
    assert '".amlignore" or ".gitignore" there leaves it out; add a line !train.py' in ended.err


def test_rules_that_cannot_be_read_are_named(bench: Bench) -> None:
    """A file of rules that is no text is refused before anything is copied."""
    bench.script("pass")
    (bench.source / ".amlignore").write_bytes(b"\xff\xfe*")

    ended = bench.start(bench.spec(inputs=(), outputs=())).end()

    assert ended.code == 3
    assert ".amlignore" in ended.err
