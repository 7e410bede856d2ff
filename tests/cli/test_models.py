"""`datastores models`: what runs registered, and how it comes here."""

from __future__ import annotations

from pathlib import Path

import pytest

from datastores import Experiment, Workspace
from tests.cli.test_commands import Call, call

__all__ = ["call"]


@pytest.fixture
def registered(workspace: Workspace) -> str:
    """Two versions of a model; returns the id of the run that made them."""
    with Experiment(workspace, "cats").start_logging(snapshot_directory=None) as run:
        for text in ("one", "two"):
            Path("m.bin").write_text(text)
            run.upload_file(f"outputs/{text}/m.bin", "m.bin")
            run.register_model("cat", f"outputs/{text}/m.bin", tags={"text": text})
    Path("m.bin").unlink()
    return run.id


def test_models_are_listed(call: Call, registered: str) -> None:
    """The newest version comes first, in a table and for programs; filters leave others out."""
    found = call("models", "list", "--json").json
    table = call("models", "list", "--run", registered)

    assert [(one["name"], one["version"], one["tags"]) for one in found] == [
        ("cat", 2, {"text": "two"}),
        ("cat", 1, {"text": "one"}),
    ]
    assert [line.split()[:3] for line in table.out.splitlines()] == [
        ["model", "version", "run"],
        ["cat", "2", registered],
        ["cat", "1", registered],
    ]
    assert call("models", "list", "--name", "dog", "--json").json == []
    assert call("models", "list", "--run", "another").out.startswith("no models; a script makes")


def test_a_model_comes_here(call: Call, registered: str) -> None:
    """The newest or a named version; what is there stays unless it may be replaced."""
    assert registered
    newest = call("models", "download", "cat")
    text = Path("m.bin").read_text()
    again = call("models", "download", "cat:1", "--json")
    older = call("models", "download", "cat:1", ".", "--overwrite", "--json").json

    assert (newest.out, text) == ("m.bin\n", "two")
    assert (again.code, "already exists" in again.err) == (14, True)
    assert older == {"model": "cat", "version": 1, "path": "m.bin"}
    assert Path("m.bin").read_text() == "one"
    assert call("models", "download", "dog").code == 4
    assert call("models", "download", "cat:x").code == 3
