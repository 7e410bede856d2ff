"""Models: names and versions for files that runs made."""

from __future__ import annotations

from pathlib import Path

import pytest

from datastores import Experiment, Run, RunConfiguration, ScriptRunConfig, Workspace
from datastores.errors import (
    AlreadyExists,
    DefinitionRejected,
    NameRejected,
    NotFound,
    NotRegistered,
    RunRefused,
)
from datastores.history.model import Model


@pytest.fixture
def run(experiment: Experiment) -> Run:
    """A run with a model of one file and one of a folder."""
    made = experiment.start_logging(snapshot_directory=None)
    Path("tree/deep").mkdir(parents=True)
    Path("tree/config.json").write_text("{}")
    Path("tree/deep/weights").write_text("w")
    made.upload_folder("outputs/tree", "tree")
    made.upload_file("outputs/model.pkl", "tree/deep/weights")
    return made


def test_versions_of_a_model_are_counted(workspace: Workspace, run: Run) -> None:
    """Each registration is the next version, the newest is meant where none is named."""
    first = run.register_model("cat-1.0", "outputs/model.pkl", tags={"a": 1, "b": None})
    second = run.register_model(
        "cat-1.0",
        "./outputs/tree/",
        properties={"acc": 0.9},
        model_framework="Onnx",
        model_framework_version="1.2",
        description="a cat",
    )
    other = run.register_model("dog", model_path="outputs/tree")

    assert [one.id for one in (first, second, other)] == ["cat-1.0:1", "cat-1.0:2", "dog:1"]
    assert (first.tags, second.properties) == ({"a": "1", "b": ""}, {"acc": "0.9"})
    assert Model(workspace, "cat-1.0") == second == Model(workspace, id="cat-1.0:2")
    assert Model(workspace, "cat-1.0", version=1) == first == Model(workspace, "cat-1.0", tags="a")
    found = Model(workspace, "cat-1.0")
    assert (found.run, found.description, found.model_framework) == (run, "a cat", "Onnx")
    assert (found.model_framework_version, found.created_time) == ("1.2", second.created_time)
    listings = [
        Model.list(workspace),
        Model.list(workspace, latest=True),
        Model.list(workspace, "cat-1.0"),
        Model.list(workspace, tags={"a": "1"}, run_id=run.id),
        Model.list(workspace, model_framework="Onnx"),
        Model.list(workspace, run_id="another"),
    ]
    assert listings == [
        [second, first, other], [second, other], [second, first], [first], [second], [],
    ]  # fmt: skip


def test_a_model_is_downloaded_under_its_last_name(workspace: Workspace, run: Run) -> None:
    """A file or a folder arrives whole; what is there is replaced only where that is wanted."""
    file = run.register_model("file", "outputs/model.pkl")
    folder = run.register_model("folder", "outputs/tree")

    paths = [file.download("here"), folder.download("here")]

    assert paths == ["here/model.pkl", "here/tree"]
    assert sorted(str(path) for path in Path("here").rglob("*") if path.is_file()) == [
        "here/model.pkl",
        "here/tree/config.json",
        "here/tree/deep/weights",
    ]
    with pytest.raises(AlreadyExists, match=r'"model.pkl" in "here".*pass exist_ok=True'):
        file.download("here")
    Path("here/model.pkl").write_text("old")
    assert Path(file.download("here", exist_ok=True)).read_text() == "w"
    assert file.url == (
        f"azureml://datastores/workspaceblobstore/paths/ExperimentRun/dcid.{run.id}"
        "/outputs/model.pkl"
    )


def test_labels_of_a_model_change_as_those_of_runs(workspace: Workspace, run: Run) -> None:
    """Tags come and go, properties stay what they are; another look sees it."""
    model = run.register_model("m", "outputs/tree", tags={"a": "1"}, properties={"p": "1"})

    model.add_tags({"b": 2})
    model.remove_tags(["a", "unknown"])
    model.add_properties({"p": "1", "q": "2"})

    seen = Model(workspace, "m")
    assert (model.tags, seen.tags) == ({"b": "2"}, {"b": "2"})
    assert (model.properties, seen.properties) == ({"p": "1", "q": "2"},) * 2
    with pytest.raises(RunRefused, match='whose property "p" cannot change'):
        model.add_properties({"p": "2"})


def test_what_is_no_model_is_told(workspace: Workspace, run: Run) -> None:
    """Missing files, wrong names, unknown models and versions are refused with what there is."""
    with pytest.raises(DefinitionRejected, match=r'has no file "m" \(it has: outputs/model.pkl'):
        run.register_model("m")
    with pytest.raises(NameRejected, match='"a b" cannot be the name of a model'):
        run.register_model("a b", "outputs/tree")
    run.register_model("m", "outputs/tree")
    with pytest.raises(NotRegistered, match=r'no model "x" .*\(registered: "m:1"\)'):
        Model(workspace, "x")
    with pytest.raises(NotRegistered, match='no model "m:7"'):
        Model(workspace, "m", version=7)
    with pytest.raises(DefinitionRejected, match="an id of NAME:VERSION"):
        Model(workspace, id="m")
    with pytest.raises(DefinitionRejected, match="none of its versions has these labels"):
        Model(workspace, "m", tags={"a": "b"})


def test_a_model_outlives_the_record_of_its_run(workspace: Workspace, run: Run) -> None:
    """Its files stay when the experiment is deleted; only `run` has nothing to give then."""
    model = run.register_model("m", "outputs/model.pkl")
    run.complete()

    Experiment.delete(workspace, "cats")

    assert Path(Model(workspace, "m").download("here")).read_text() == "w"
    with pytest.raises(NotRegistered, match=f'no run "{run.id}"'):
        _ = model.run


def test_a_script_registers_what_it_leaves(workspace: Workspace, experiment: Experiment) -> None:
    """What is in `outputs`, or was handed over, is a model at once; its files come with the end."""
    Path("src").mkdir()
    Path("src/train.py").write_text(
        "import pathlib\n"
        "from datastores import Run\n"
        "from datastores.errors import NotFound\n"
        "run = Run.get_context()\n"
        "pathlib.Path('outputs').mkdir(exist_ok=True)\n"
        "pathlib.Path('outputs/model.pkl').write_text('mine')\n"
        "pathlib.Path('given.txt').write_text('given')\n"
        "run.upload_file('models/given.txt', 'given.txt')\n"
        "made = run.register_model('left', 'outputs/model.pkl', tags={'who': 'script'})\n"
        "run.register_model('given', 'models')\n"
        "try:\n"
        "    made.download('early')\n"
        "except NotFound as error:\n"
        "    print(error)\n"
    )

    run = experiment.submit(ScriptRunConfig("src", run_config=RunConfiguration(script="train.py")))
    run.wait_for_completion()

    left, given = Model(workspace, "left"), Model(workspace, "given")
    assert (left.run_id, left.tags) == (run.id, {"who": "script"})
    assert Path(left.download("here")).read_text() == "mine"
    assert Path(given.download("here"), "given.txt").read_text() == "given"
    log = run.get_details_with_logs()["logFiles"]["logs/output.log"]
    assert f"files of run {run.id} arrive when it ends" in log
    assert NotFound.sentence in log


def test_what_is_kept_at_the_end_can_be_registered_before(
    workspace: Workspace, experiment: Experiment
) -> None:
    """A file in `outputs` becomes a model before the run completes, and arrives when it does."""
    run = experiment.start_logging(snapshot_directory=None)
    Path("outputs").mkdir()
    Path("outputs/model.pkl").write_text("m")

    model = run.register_model("cat", "outputs/model.pkl")

    with pytest.raises(NotFound, match="arrive when it ends"):
        model.download("early")
    run.complete()
    assert Path(model.download("late")).read_text() == "m"
    assert workspace.models == {"cat": model}
