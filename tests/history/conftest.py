"""A workspace of one's own, and a run in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datastores import Experiment, Workspace
from datastores.history.records import ExperimentName, RunId, RunRecord
from datastores.history.run_history import RunHistory
from datastores.history.status import Status

RUN = "cats_1"
# What tells a process that it is the script of a run.
VARIABLES = (
    "AZUREML_RUN_ID",
    "AZUREML_ARM_PROJECT_NAME",
    "AZUREML_ARM_WORKSPACE_NAME",
    "AZUREML_ARM_SUBSCRIPTION",
    "AZUREML_ARM_RESOURCEGROUP",
    "AZUREML_DATASET_ENVIRONMENT_VARS",
    "AZUREML_DATASET_FILE_OUTPUTS",
    "DATASTORES_RUN_EVENTS",
    "DATASTORES_REGISTRY",
    "DATASTORES_WORKSPACE",
    "DATASTORES_VAULT_KEY_SOURCE",
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, beside an empty home."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("DATASTORES_HOME", str(tmp_path / "home"))
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def workspace(project: Path) -> Iterator[Workspace]:
    made = Workspace.create("demo", show_output=False)
    yield made
    made.close()


@pytest.fixture
def experiment(workspace: Workspace) -> Experiment:
    return Experiment(workspace, "cats")


@pytest.fixture
def history(workspace: Workspace) -> RunHistory:
    """A history with one run that an agent looks after, in the project folder."""
    made = RunHistory(workspace.registry, workspace.name)
    made.create(
        RunRecord(RunId(RUN), ExperimentName("cats"), Status.RUNNING, folder=str(Path.cwd()))
    )
    return made
