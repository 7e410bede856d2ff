"""A run seen from its own script: real processes, forks included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datastores import Experiment, Run, Workspace
from datastores.errors import DatastoresError
from datastores.history.files import keep_run_files
from datastores.history.ingest import ingest
from datastores.history.run_history import RunHistory
from datastores.history.script_run import ScriptRun
from datastores.history.status import Status
from tests.history.conftest import RUN

SCRIPT = """
import io, json, multiprocessing, os, sys
from datastores import Run

def work(number):
    run = Run.get_context()
    for step in range(20):
        run.log(f"worker {number}", step, step=step)

run = Run.get_context(allow_offline=False)
run.log("loss", float("nan"))
run.log("loss", 0.5, step=1)
run.log_list("list", range(3))
run.log_row("row", a=1, b="x")
run.log_row("row", a=2, b="y")
run.log_table("table", {"a": [1, 2]})
run.log_accuracy_table("chart", '{"schema_type": "accuracy_table", "data": {}}')
class Plot:
    def savefig(self, file, format): file.write(b"png " + format.encode())
run.log_image("plot/of it", plot=Plot())
open("model.bin", "wb").write(b"model")
run.upload_file("outputs/given.bin", "model.bin")
run.upload_file("outputs/stream.bin", io.BytesIO(b"stream"))
os.makedirs("outputs", exist_ok=True)
open("outputs/own.txt", "w").write("own")
run.tag("from", "script"); run.set_tags({"gone": 1}); run.remove_tags(["gone"])
run.add_properties({"commit": "abc"})
children = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(3)]
[child.start() for child in children]; [child.join() for child in children]
with run.child_run("fold") as fold:
    fold.log("score", 1)
try:
    with run.child_run("broken", run_id="cats_broken"):
        raise RuntimeError("it broke")
except RuntimeError:
    pass
run.complete()
heavy = {"sqlalchemy", "azure", "obstore", "adlfs", "pandas", "requests", "fsspec"}
print(json.dumps({
    "status": run.get_status(), "datasets": dict(run.input_datasets), "id": run.id,
    "outputs": run.output_datasets, "experiment": run.experiment.name,
    "workspace": run.experiment.workspace.name, "score": fold.get_metrics(),
    "metrics": sorted(run.get_metrics()), "one": run.get_metrics("list"),
    "runs": sorted(run.get_metrics(recursive=True)) == sorted([run.id, fold.id]),
    "heavy": sorted({name.split(".")[0] for name in sys.modules} & heavy),
}))
"""


@pytest.fixture
def told(workspace: Workspace, project: Path) -> dict[str, str]:
    """The variables of a script whose run's folder is the project."""
    return {
        "AZUREML_RUN_ID": RUN,
        "AZUREML_ARM_PROJECT_NAME": "cats",
        "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
        "AZUREML_ARM_SUBSCRIPTION": "local",
        "AZUREML_ARM_RESOURCEGROUP": "local",
        "DATASTORES_REGISTRY": workspace.registry_place,
        "DATASTORES_RUN_EVENTS": str(project / "events.jsonl"),
        "AZUREML_DATAREFERENCE_images": "/data/images",
        "AZUREML_DATASET_ENVIRONMENT_VARS": "labels:mount",
        "labels": "/data/labels",
        "AZUREML_DATASET_FILE_OUTPUTS": "result",
        "result": "/data/result",
    }


def test_a_script_logs_without_the_registry_and_everything_arrives(
    workspace: Workspace, history: RunHistory, told: dict[str, str], project: Path
) -> None:
    """
    A script and its forks log, hand over files and run children, without loading a database or a
    storage client; afterwards all of it is in the registry and in the default datastore.
    """
    work = project / "work"
    work.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=work,
        env={**os.environ, **told, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert ran.returncode == 0, ran.stderr
    names = ["chart", "list", "loss", "plot/of it", "row", "table"]
    workers = [f"worker {number}" for number in range(3)]
    assert json.loads(ran.stdout) == {
        "status": "Running",
        "datasets": {"images": "/data/images", "labels": "/data/labels"},
        "id": RUN,
        "outputs": {"result": "/data/result"},
        "experiment": "cats",
        "workspace": "demo",
        "score": {"score": 1},
        "metrics": sorted([*names, *workers]),
        "one": {"list": [0, 1, 2]},
        "runs": True,
        "heavy": [],
    }

    ingest(history, RUN, project / "events.jsonl", is_over=True)
    keep_run_files(workspace, RUN, project)

    run = Run.get(workspace, RUN)
    metrics = run.get_metrics()
    image = metrics.pop("plot/of it")
    assert str(metrics.pop("loss")) == "[nan, 0.5]"
    assert metrics == {
        "list": [0, 1, 2],
        "row": {"a": [1, 2], "b": ["x", "y"]},
        "table": {"a": [1, 2]},
        "chart": {"schema_type": "accuracy_table", "data": {}},
        **{worker: list(range(20)) for worker in workers},
    }
    assert (run.get_tags(), run.get_properties()) == ({"from": "script"}, {"commit": "abc"})
    assert run.get_status() == "Running"
    files = ["outputs/given.bin", "outputs/own.txt", "outputs/stream.bin"]
    assert run.get_file_names() == [image, *files]
    run.download_files("outputs/", "back", append_prefix=False)
    assert {path.name: path.read_text() for path in Path("back").iterdir()} == {
        "given.bin": "model",
        "own.txt": "own",
        "stream.bin": "stream",
    }
    run.download_file(image, "image.png")
    assert Path("image.png").read_bytes() == b"png png"
    children = {child.display_name: child for child in run.get_children()}
    assert {name: child.get_status() for name, child in children.items()} == {
        "fold": "Completed",
        "broken": "Failed",
    }
    assert children["broken"].get_details()["error"]["error"]["message"] == "RuntimeError: it broke"
    assert children["fold"].parent == run


def test_a_script_cannot_end_its_own_run(
    history: RunHistory, told: dict[str, str], monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    """
    `complete`, `fail` and `start` of a submitted run set no status, the reason is noted; `cancel`
    says how to end.
    """
    run = _context(told, monkeypatch)

    run.start()
    run.complete()
    run.fail("it broke", error_code="17")
    with pytest.raises(DatastoresError, match=r"leave it with sys.exit\(\)"):
        run.cancel()
    run.child_run(run_id="cats_child").cancel()
    ingest(history, RUN, project / "events.jsonl")

    record = history.get(RUN)
    assert (record.status, record.error) == (Status.RUNNING, "17: it broke")
    assert history.get("cats_child").status is Status.CANCELED


def test_a_script_sees_the_labels_of_its_submission(
    history: RunHistory, told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Tags and properties of the submission are there, under what the script has said since.
    """
    history.tag(RUN, {"who": "me", "gone": "x"})
    history.add_properties(RUN, {"commit": "abc"})
    run = _context(told, monkeypatch)

    run.tag("more", 1)
    run.remove_tags("gone")
    run.add_properties({"commit": "other", "new": "y"})

    assert run.get_tags() == {"who": "me", "more": "1"}
    assert run.get_properties() == {"commit": "abc", "new": "y"}
    assert run.number == 1
    run.experiment.workspace.close()


def test_the_context_is_a_run(
    history: RunHistory, told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Inside a run the context is a `Run`, equal to the one that was submitted.
    """
    run = _context(told, monkeypatch)

    assert run == Run.get(run.experiment.workspace, RUN)
    assert run.experiment == Experiment(run.experiment.workspace, "cats")
    run.experiment.workspace.close()


def _context(told: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ScriptRun:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    run = Run.get_context()
    assert isinstance(run, ScriptRun)
    return run
