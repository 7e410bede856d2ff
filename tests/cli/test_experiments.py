"""`datastores experiments`: looking at them, putting them away, forgetting them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from datastores import Experiment, Workspace
from tests.cli.test_commands import Call, call

__all__ = ["call"]


@pytest.fixture
def cats(workspace: Workspace) -> str:
    """An experiment with a finished run that has a file; returns the run's id."""
    with Experiment(workspace, "cats").start_logging(snapshot_directory=None) as run:
        Path("a.txt").write_text("abc")
        run.upload_file("a.txt", "a.txt")
    return run.id


def test_experiments_are_listed_without_those_put_away(call: Call, cats: str) -> None:
    """`archive` takes an experiment out of the listing and `reactivate` puts it back."""
    assert cats
    listed = [one["name"] for one in call("experiments", "list", "--json").json]
    archived = call("experiments", "archive", "cats", "--json").json
    answers = [
        [one["name"] for one in call("experiments", "list", *options, "--json").json]
        for options in ((), ("--archived",), ("--all",))
    ]
    table = call("experiments", "list", "--all")
    back = call("experiments", "reactivate", "cats")

    assert (listed, answers) == (["cats"], [[], ["cats"], ["cats"]])
    assert archived["archived"].endswith("Z")
    assert [line.split()[0] for line in table.out.splitlines()] == ["experiment", "cats"]
    assert back.out == "cats: active\n"
    assert call("experiments", "archive", "dogs").code == 4


def test_deleting_is_told_first_and_asked_for(
    call: Call, workspace: Workspace, cats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run tells what would go and what stays, and only a yes deletes."""
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    place = f"workspaceblobstore:ExperimentRun/dcid.{cats}"

    told = call("experiments", "delete", "cats", "--dry-run")
    planned = call("experiments", "delete", "cats", "--dry-run", "--json").json
    refused = call("experiments", "delete", "cats")
    before = [one.name for one in Experiment.list(workspace)]
    done = call("experiments", "delete", "cats", "--yes", "--json").json

    assert told.out == (
        'experiment "cats" goes with 1 run; their files stay:\n'
        f"1 file (3 B) in stores\n  stays  {place}\n"
    )
    facts = {"name": "cats", "runs": [cats], "files": 1, "bytes": 3, "places": [place]}
    assert planned == {"deleted": False, **facts, "folders": []}
    assert (refused.code != 0, before) == (True, ["cats"])
    assert done == {"deleted": True, **facts, "folders": []}
    assert Experiment.list(workspace, view_type="All") == []


def test_an_experiment_at_work_stays(call: Call, workspace: Workspace) -> None:
    """Deleting is refused while a run goes on, and the sentence says how to end it."""
    run = Experiment(workspace, "cats").start_logging(snapshot_directory=None)

    answer = call("experiments", "delete", "cats", "--yes")

    assert (answer.code, f"datastores runs cancel {run.id}" in answer.err) == (17, True)
    assert [one.name for one in Experiment.list(workspace)] == ["cats"]
