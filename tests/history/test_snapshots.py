"""The source of a run in a datastore of its workspace, and back again."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from datastores import (
    CondaDependencies,
    Datastore,
    Experiment,
    Run,
    RunConfiguration,
    ScriptRunConfig,
    Workspace,
)
from datastores.errors import DefinitionRejected, NotRegistered, RunRefused
from datastores.history.run_history import RunHistory
from datastores.secret import MASK, Secret
from tests.history.conftest import RUN

CANARY = "canary-Sn7/q+Zt0w=="


def _write(files: dict[str, str], below: Path = Path()) -> None:
    for name, text in files.items():
        (below / name).parent.mkdir(parents=True, exist_ok=True)
        (below / name).write_text(text)


def _unpacked(archive: str) -> dict[str, str]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def test_an_interactive_run_keeps_its_source(experiment: Experiment, project: Path) -> None:
    """The folder comes back as a ZIP, without what is ignored, results, and git's own files."""
    kept = {"train.py": "code", "pkg/näme with space.py": "more", ".amlignore": "*.bin\n"}
    _write({**kept, "data.bin": "x", "outputs/model": "x", "logs/a": "x", ".git/HEAD": "x"})

    before = sorted(path.name for path in project.iterdir())
    run = experiment.start_logging(snapshot_directory=".")
    assert sorted(path.name for path in project.iterdir()) == before
    _write({"train.py": "changed"})
    archive = run.restore_snapshot(path="back")

    assert archive == str(project / "back" / f"{run.get_snapshot_id()}.zip")
    found = _unpacked(archive)
    assert {name: found[name] for name in kept} == kept
    # The folder says which workspace it belongs to, and nothing secret.
    assert set(found) - set(kept) <= {".azureml/config.json"}


def test_a_file_is_a_source_too(experiment: Experiment) -> None:
    """A snapshot of one file has this file, and any run of the workspace restores it by its id."""
    _write({"notes/train.py": "code"})
    run = experiment.start_logging(snapshot_directory=None)

    before = run.get_snapshot_id()
    made = run.take_snapshot("notes/train.py")
    other = Run.get(experiment.workspace, experiment.start_logging(snapshot_directory=None).id)

    assert (before, run.get_snapshot_id()) == (None, made)
    assert _unpacked(other.restore_snapshot(made, "here")) == {"train.py": "code"}
    with pytest.raises(RunRefused, match=f'has the snapshot "{made}"'):
        run.take_snapshot("notes")
    with pytest.raises(RunRefused, match="has no snapshot; one is kept by take_snapshot"):
        other.restore_snapshot()
    with pytest.raises(NotRegistered, match='no snapshot "nothing"'):
        other.restore_snapshot("nothing")


def test_an_empty_folder_is_an_empty_snapshot(experiment: Experiment) -> None:
    """A folder without a file is kept and comes back as an empty ZIP."""
    Path("empty").mkdir()

    run = experiment.start_logging(snapshot_directory="empty")

    assert _unpacked(run.restore_snapshot(path="back")) == {}


def test_the_vault_is_in_no_snapshot(
    experiment: Experiment, workspace: Workspace, project: Path
) -> None:
    """The workspace's own folder stays out of what is above it, and is no source itself."""
    home = Path(workspace.registry_place).parent
    above = project.parent
    _write({"code.py": "code"}, above / "src")

    run = experiment.start_logging(snapshot_directory=above)
    names = set(_unpacked(run.restore_snapshot(path="back")))

    assert "src/code.py" in names
    inside = home.relative_to(above).as_posix()
    assert [name for name in names if name.startswith(inside)] == []
    with pytest.raises(DefinitionRejected, match="holds the workspace itself"):
        experiment.start_logging(snapshot_directory=home)


def test_a_key_among_the_source_stays_there(project: Path) -> None:
    """The file of the vault's key is in no snapshot, by its own name or by a link to it."""
    keys = project / "keys"
    keys.mkdir(mode=0o700)
    made = Workspace.create("keyed", vault_key=f"file:{keys}/vault.key", show_output=False)
    Datastore.register_azure_blob_container(
        made, "images", "photos", "acct", account_key="a2V5", skip_validation=True
    )
    Path("link").symlink_to(keys / "vault.key")
    _write({"keys/notes.txt": "n"})

    run = Experiment(made, "cats").start_logging(snapshot_directory=".")
    names = set(_unpacked(run.restore_snapshot(path="back")))
    made.close()

    assert (keys / "vault.key").is_file()
    assert names - {".azureml/config.json"} == {"keys/notes.txt"}


def test_what_is_too_large_is_no_source(
    experiment: Experiment, history: RunHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 300 MB are refused before a run begins, unless Azure ML's variable lifts it."""
    Path("src").mkdir()
    with Path("src/large").open("wb") as file:
        file.truncate(300 * 1024 * 1024 + 1)

    with pytest.raises(DefinitionRejected, match="more than 300 MB"):
        experiment.start_logging(snapshot_directory="src")
    runs = [one.run_id for one in history.list()]
    Path("src/large").write_bytes(b"x" * 8)
    monkeypatch.setattr("datastores.history.snapshots._MOST_BYTES", 7)
    monkeypatch.setenv("AML_SNAPSHOT_NO_FILE_LIMIT", "1")
    run = experiment.start_logging(snapshot_directory="src")

    assert runs == [RUN]
    assert _unpacked(run.restore_snapshot(path="back")) == {"large": "x" * 8}
    with pytest.raises(DefinitionRejected, match='"nowhere" is not there'):
        experiment.start_logging(snapshot_directory="nowhere")


def test_a_submitted_run_has_the_source_it_was_submitted_with(
    workspace: Workspace, experiment: Experiment
) -> None:
    """A source folder that went to a datastore comes back; its environment and logs do, too."""
    _write({"src/train.py": "print('said')\n"})
    configuration = RunConfiguration(script="train.py")
    configuration.source_directory_data_store = workspace.get_default_datastore().name
    configuration.environment.name = "mine"
    configuration.environment.environment_variables = {"MODE": "fast", "API_KEY": "hidden"}
    configuration.environment.docker.base_image_registry.password = Secret(CANARY)
    packages = CondaDependencies.create(pip_packages=["torch==2.1"])
    configuration.environment.python.conda_dependencies = packages

    run = experiment.submit(ScriptRunConfig("src", "train.py", run_config=configuration))
    run.wait_for_completion()
    environment = run.get_environment()

    assert run.get_snapshot_id() == run.id
    assert _unpacked(run.restore_snapshot(path="back")) == {"train.py": "print('said')\n"}
    assert environment.name == "mine"
    assert environment.environment_variables == {"MODE": "fast", "API_KEY": MASK}
    assert environment.docker.base_image_registry.password is None
    assert CANARY.encode() not in Path(workspace.registry_place).read_bytes()
    found = environment.python.conda_dependencies
    assert (found and found.structure) == packages.structure
    logs = run.get_all_logs()
    assert f"assets/{run.id}/logs/output.log" in logs
    assert "said\n" in Path(f"assets/{run.id}/logs/output.log").read_text()


def test_logs_come_from_the_store_where_the_folder_is_elsewhere(experiment: Experiment) -> None:
    """Logs among the run's files are brought whole, and a file cannot be their folder."""
    run = experiment.start_logging(snapshot_directory=None)
    _write({"big.log": "line\n" * 300_000, "taken": ""})
    run.upload_file("logs/output.log", "big.log")
    run.upload_file("azureml-logs/70_driver.txt", "big.log")
    run.upload_file("other.txt", "big.log")

    found = run.get_all_logs("brought")

    assert found == ["brought/azureml-logs/70_driver.txt", "brought/logs/output.log"]
    assert Path(found[1]).read_text() == Path("big.log").read_text()
    with pytest.raises(DefinitionRejected, match='"taken" is not a folder'):
        run.get_all_logs("taken")
