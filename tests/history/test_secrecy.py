"""What is remembered of a run holds none of its secrets."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest

from datastores import Experiment, ScriptRunConfig, Workspace
from datastores.contract import (
    FolderSource,
    InputMode,
    InputSpec,
    JobSpec,
    LeaseSpec,
    Script,
    SnapshotSource,
    to_json,
)
from datastores.credentials.kinds import Sas
from datastores.definitions import BlobContainer
from datastores.history.details import details_of
from datastores.history.records import ExperimentName, RunId, RunRecord
from datastores.history.run_history import RunHistory
from datastores.names import DatastoreName
from datastores.secret import MASK, Secret
from tests.test_secrets import CANARY, forms

STORE = BlobContainer(DatastoreName("images"), "photos", "acct")


@pytest.mark.parametrize("is_snapshot", [True, False])
def test_a_job_spec_is_remembered_without_its_leases(
    workspace: Workspace, history: RunHistory, is_snapshot: bool
) -> None:
    """
    The spec that goes to the node, leases and all, is in the registry without one, in any spelling
    of the canary; otherwise it is the spec.
    """
    lease = LeaseSpec(Sas(Secret(f"sv=2021&sig={CANARY}")), time.time() + 60, time.time() + 30)
    bare = JobSpec(
        "cats_2",
        "cats",
        Script("train.py", ("--rate", "1")),
        SnapshotSource(STORE, "src") if is_snapshot else FolderSource("/src"),
        {"STORAGE_KEY": CANARY, "EPOCHS": "3"},
        (InputSpec("train", InputMode.MOUNT, STORE, "train"),),
    )
    spec = dataclasses.replace(
        bare,
        source=dataclasses.replace(bare.source, lease=lease) if is_snapshot else bare.source,  # type: ignore[type-var]  # a snapshot
        inputs=(dataclasses.replace(bare.inputs[0], lease=lease),),
    )
    assert CANARY in to_json(spec), "no lease in clear, so this proves nothing"

    record = RunRecord(
        RunId("cats_2"),
        ExperimentName("cats"),
        spec=json.loads(to_json(spec)),
        error=f"sig={CANARY}",
    )
    history.create(record)

    found = history.get("cats_2")
    text = repr(found) + json.dumps(details_of(found))
    assert [form for form in forms(CANARY) if form in text.encode()] == []
    assert found.error == f"sig={MASK}"
    wanted = json.loads(
        to_json(dataclasses.replace(bare, environment={"STORAGE_KEY": MASK, "EPOCHS": "3"}))
    )
    assert found.spec == _without_leases(wanted)
    files = [path for path in Path(workspace.registry_place).parent.rglob("*") if path.is_file()]
    assert [p for p in files if any(form in p.read_bytes() for form in forms(CANARY))] == []


def test_a_submitted_secret_stays_in_the_runs_folder(
    workspace: Workspace, experiment: Experiment
) -> None:
    """
    A variable that is named like a secret reaches the script and no record of the run.
    """
    Path("src").mkdir()
    Path("src/train.py").write_text("import os; print(len(os.environ['API_TOKEN']))\n")
    config = ScriptRunConfig("src", "train.py", compute_target="local")
    config.run_config.environment_variables = {"API_TOKEN": CANARY}

    run = experiment.submit(config)
    details = run.wait_for_completion()

    assert run.get_details_with_logs()["logFiles"]["logs/output.log"] == f"{len(CANARY)}\n"
    assert CANARY not in json.dumps(details)
    assert details["runDefinition"]["environment"]["API_TOKEN"] == MASK
    assert CANARY.encode() not in Path(workspace.registry_place).read_bytes()


def _without_leases(wire: object) -> object:
    if isinstance(wire, dict):
        return {key: _without_leases(value) for key, value in wire.items() if key != "lease"}
    if isinstance(wire, list):
        return [_without_leases(one) for one in wire]
    return wire
