"""Experiments that are put away, taken back and forgotten; names that Azure ML's scripts use."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from datastores import Experiment, Run, Workspace
from datastores.errors import DefinitionRejected, NotRegistered, RunRefused
from datastores.history import snapshots
from datastores.history.experiment import ViewType
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from tests.history.conftest import RUN


def _listed(workspace: Workspace, view_type: str) -> list[str]:
    return [one.name for one in Experiment.list(workspace, view_type=view_type)]


def test_an_archived_experiment_is_out_of_listings(
    workspace: Workspace, experiment: Experiment
) -> None:
    """Its runs stay; `reactivate` and the next run take it back, a run below another does not."""
    run = experiment.start_logging(snapshot_directory=None)
    views = (ViewType.ActiveOnly, ViewType.ArchivedOnly, ViewType.All)
    began = datetime.now(UTC)

    experiment.archive()
    since = experiment.archived_time
    experiment.archive()
    run.child_run().complete()
    archived = [_listed(workspace, view) for view in views]
    experiment.reactivate()
    active = [_listed(workspace, view) for view in views]
    experiment.archive()
    experiment.start_logging(snapshot_directory=None)

    assert since is not None
    assert began <= since <= datetime.now(UTC)
    assert archived == [[], ["cats"], ["cats"]]
    assert active == [["cats"], [], ["cats"]]
    assert (experiment.archived_time, run.get_status()) == (None, "Running")
    assert len(list(experiment.get_runs())) == 2


def test_what_cannot_be_archived_or_listed_is_told(workspace: Workspace) -> None:
    """An unknown experiment, another name and an unknown view are refused with a sentence."""
    unknown = Experiment(workspace, "dogs")

    assert unknown.archived_time is None
    with pytest.raises(NotRegistered, match='no experiment "dogs"'):
        unknown.archive()
    with pytest.raises(DefinitionRejected, match="cannot be renamed"):
        unknown.reactivate("wolves")
    with pytest.raises(DefinitionRejected, match='"Some" is none; use ActiveOnly'):
        Experiment.list(workspace, view_type="Some")


def test_deleting_forgets_runs_and_tells_what_stays(
    workspace: Workspace, experiment: Experiment, history: RunHistory
) -> None:
    """A dry run changes nothing; nothing goes while a run is at work; files stay where they are."""
    run = experiment.start_logging(snapshot_directory=None)
    Path("a.txt").write_text("abc")
    run.upload_file("a.txt", "a.txt")
    run.complete()
    other = Experiment(workspace, "dogs").start_logging(snapshot_directory=None)

    with pytest.raises(RunRefused, match=f'"{RUN}" is Running; end it with: datastores runs'):
        Experiment.delete(workspace, "cats")
    history.change(RUN, status=Status.FAILED)
    planned = Experiment.delete(workspace, "cats", dry_run=True)
    known = _listed(workspace, ViewType.All)
    done = Experiment.delete(workspace, experiment.id)

    assert (done, known) == (planned, ["cats", "dogs"])
    assert (done.runs, done.files, done.bytes) == ((run.id, RUN), 1, 3)
    assert done.places == (f"workspaceblobstore:ExperimentRun/dcid.{run.id}",)
    assert done.folders == (str(Path.cwd()),)
    assert [one.run_id for one in history.list()] == [other.id]
    with pytest.raises(NotRegistered, match=f'no run "{run.id}"'):
        Run.get(workspace, run.id)
    with workspace.get_default_datastore().opened() as store:
        assert store.stat(f"ExperimentRun/dcid.{run.id}/a.txt").size == 3


def test_an_experiment_is_that_of_its_folder(workspace: Workspace, project: Path) -> None:
    """`from_directory` gives the folder's workspace and the experiment of the folder's name."""
    found = Experiment.from_directory(project)

    assert found == Experiment(found.workspace, "project")
    assert found.workspace_object.name == workspace.name
    assert found.get_portal_url() == (
        "azureml://subscriptions/local/resourcegroups/local/workspaces/demo/experiments/project"
    )
    assert Experiment.get_docs_url().startswith("https://learn.microsoft.com/python/api/")
    found.workspace.close()


def test_runs_are_found_by_compute_and_made_by_their_type(
    workspace: Workspace, experiment: Experiment
) -> None:
    """`list_by_compute` filters by target; a type's own factory makes the objects of its runs."""

    class Mine(Run):
        """A run of another type."""

    run = experiment.start_logging(snapshot_directory=None)
    here = SimpleNamespace(workspace=workspace, name="local")
    away = SimpleNamespace(workspace=workspace, name="cluster")
    kind = f"mine.{run.id}"
    Run.add_type_provider(kind, lambda owner, record: Mine(owner, record.run_id))
    with pytest.raises(DefinitionRejected, match="have a factory already"):
        Run.add_type_provider(kind, lambda owner, record: Run(owner, record.run_id))

    assert list(Run.list_by_compute(here)) == [run]
    assert list(Run.list_by_compute(away)) == []
    assert run.get_detailed_status() == {"status": "Running", "details": None}
    assert run.get_portal_url() == (
        "azureml://subscriptions/local/resourcegroups/local/workspaces/demo"
        f"/datastores/workspaceblobstore/paths/ExperimentRun/dcid.{run.id}/"
    )
    with pytest.raises(DefinitionRejected, match="not the script of a run"):
        Run.get_submitted_run()


def test_outputs_are_kept_where_there_are_some(experiment: Experiment) -> None:
    """By default `outputs` is kept if it is there, and False keeps nothing."""
    with experiment.start_logging(snapshot_directory=None) as without:
        pass
    Path("outputs").mkdir()
    Path("outputs/model").write_text("m")
    with experiment.start_logging(snapshot_directory=None) as default:
        pass
    with experiment.start_logging(outputs=False, snapshot_directory=None) as none:
        pass
    with experiment.start_logging("named", "my-id", snapshot_directory=None) as named:
        pass

    files = [run.get_file_names() for run in (without, default, none, named)]
    assert files == [[], ["outputs/model"], [], ["outputs/model"]]
    assert (named.id, named.display_name) == ("my-id", "named")


def test_a_folder_that_nobody_named_may_be_no_source(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run begins in a folder too large for a snapshot, and says so; one that was named is refused."""
    monkeypatch.setattr(snapshots, "_MOST_BYTES", 3)
    Path("data.bin").write_bytes(b"more")
    run = experiment.start_logging()
    assert run.get_snapshot_id() is None
    assert "without a snapshot" in caplog.text
    with pytest.raises(DefinitionRejected, match="more than 300 MB"):
        experiment.start_logging(snapshot_directory=Path.cwd())


def test_what_is_elsewhere_says_where(experiment: Experiment) -> None:
    """Secrets are refused with the next step, and so is an environment that nobody noted."""
    run = experiment.start_logging(snapshot_directory=None)

    with pytest.raises(RunRefused, match=r'cannot read the secret "token".*azure-identity'):
        run.get_secret("token")
    with pytest.raises(RunRefused, match='cannot read the secret "a, b"'):
        run.get_secrets(["a", "b"])
    with pytest.raises(RunRefused, match="has no environment in its records"):
        run.get_environment()
