"""Runs and experiments as those see them who start runs."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from datastores import Datastore, Experiment, Run, ScriptRunConfig, Workspace
from datastores.errors import (
    DatastoresError,
    DefinitionRejected,
    NameRejected,
    NotRegistered,
    TransferFailed,
)
from datastores.history.files import keep_run_files
from datastores.history.run_history import RunHistory
from datastores.history.status import Status
from tests.history.conftest import RUN


def test_an_interactive_run_ends_by_its_word(experiment: Experiment) -> None:
    """
    `start_logging` begins a run of this process; leaving its block completes it, or fails it with
    the error's text.
    """
    with experiment.start_logging(display_name="good") as good:
        good.log("loss", 1.5)
        begun = good.get_status()
    with pytest.raises(RuntimeError, match="bad luck"), experiment.start_logging() as bad:
        raise RuntimeError("bad luck")

    assert (begun, good.get_status(), bad.get_status()) == ("Running", "Completed", "Failed")
    assert (good.display_name, good.number, bad.number) == ("good", 1, 2)
    assert bad.get_details()["error"]["error"]["message"] == "RuntimeError: bad luck"
    good.complete()
    good.fail("too late")
    good.cancel()
    assert "error" not in good.get_details()
    assert good.get_status() == "Completed"


def test_outputs_of_an_interactive_run_are_kept(experiment: Experiment) -> None:
    """
    The folder named as `outputs` is among the run's files once it has completed.
    """
    Path("results/deep").mkdir(parents=True)
    Path("results/deep/a.txt").write_text("a")

    with experiment.start_logging(outputs="results") as run:
        pass

    assert run.get_file_names() == ["outputs/deep/a.txt"]


def test_files_lie_where_azure_ml_has_them(workspace: Workspace, experiment: Experiment) -> None:
    """
    A run's files are in the default datastore below `ExperimentRun/dcid.<id>/`, or in the one that
    was named; they come back by name.
    """
    Datastore.register_fsspec(workspace, "elsewhere", f"file://{Path.cwd()}/elsewhere",
                              create_if_not_exists=True)  # fmt: skip
    Path("a.txt").write_text("a")
    run = experiment.start_logging()

    run.upload_file("outputs/a.txt", "a.txt")
    run.upload_file("b.txt", io.BytesIO(b"b"), datastore_name="elsewhere")
    run.upload_files(["c", "d/e"], ["a.txt", "a.txt"])
    Path("a.txt").write_text("new")
    run.upload_file("c", "a.txt")

    assert run.get_file_names() == ["b.txt", "c", "d/e", "outputs/a.txt"]
    root = f"ExperimentRun/dcid.{run.id}"
    with workspace.get_default_datastore().opened() as store:
        keys = sorted(info.key for page in store.list(root) for info in page.objects)
    assert keys == [f"{root}/{name}" for name in ("c", "d/e", "outputs/a.txt")]
    assert Path("elsewhere", root, "b.txt").read_text() == "b"

    Path("folder").mkdir()
    run.download_file("outputs/a.txt")
    assert Path("a.txt").read_text() == "a"
    run.download_file("b.txt", "folder")
    run.download_file("c", "folder/named.txt")
    run.download_files("d", "tree")
    run.download_files("d", output_paths=["listed/e.txt"])
    fetched = sorted(str(path) for top in ("folder", "tree", "listed")
                     for path in Path(top).rglob("*") if path.is_file())  # fmt: skip
    assert fetched == ["folder/b.txt", "folder/named.txt", "listed/e.txt", "tree/d/e"]
    assert Path("folder/named.txt").read_text() == "new"
    with pytest.raises(NotRegistered, match=r'no file "x" in run .* "outputs/a.txt"'):
        run.download_file("x")
    with pytest.raises(DefinitionRejected, match="2 paths for 1 files"):
        run.download_files("d", output_paths=["a", "b"])


def test_what_a_run_left_is_kept_once(
    workspace: Workspace, history: RunHistory, project: Path
) -> None:
    """
    Outputs and logs of a run's folder become its files; a second look sends what changed.
    """
    for name, text in (("work/outputs/sub/a.txt", "a"), ("logs/output.log", "said")):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text(text)

    first = keep_run_files(workspace, RUN, project)
    (project / "logs/output.log").write_text("said more")
    second = keep_run_files(workspace, RUN, project)

    assert sorted(file.name for file in first) == ["logs/output.log", "outputs/sub/a.txt"]
    assert [file.name for file in second] == ["logs/output.log"]
    assert [(file.name, file.size) for file in history.files(RUN)] == [
        ("logs/output.log", 9),
        ("outputs/sub/a.txt", 1),
    ]
    run = Run.get(workspace, RUN)
    assert run.get_details_with_logs()["logFiles"] == {"logs/output.log": "said more"}
    assert run.get_details()["logFiles"] == {"logs/output.log": str(project / "logs/output.log")}


def test_what_arrived_is_noted_although_something_failed(
    workspace: Workspace, history: RunHistory, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Of several files one of which cannot be read, the others are the run's; the next call sends the
    rest, and again what changed without changing its size.
    """
    outputs = project / "work" / "outputs"
    outputs.mkdir(parents=True)
    (outputs / "a.txt").write_text("old")
    (outputs / os.fsdecode(b"\xff")).write_text("no name")
    stuck = outputs / "stuck"
    stuck.symlink_to("/proc/self/mem")

    with pytest.raises(TransferFailed, match="outputs/stuck"):
        keep_run_files(workspace, RUN, project)
    noted = [file.name for file in history.files(RUN)]
    stuck.unlink()
    (outputs / "a.txt").write_text("new")
    os.utime(outputs / "a.txt", (2**32, 2**32))
    stuck.write_text("free")
    sent = keep_run_files(workspace, RUN, project)

    assert noted == ["outputs/a.txt"]
    assert [file.name for file in sent] == ["outputs/a.txt", "outputs/stuck"]
    assert [file.size for file in history.files(RUN)] == [3, 4]
    Run.get(workspace, RUN).download_file("outputs/a.txt", "back.txt")
    assert Path("back.txt").read_text() == "new"
    assert ["a file stays in" in record.getMessage() for record in caplog.records] == [True] * 2


def test_runs_below_runs(workspace: Workspace, experiment: Experiment) -> None:
    """
    Children know their parent, are found by their labels at any depth, and stay out of the
    experiment's listing unless they are asked for.
    """
    run = experiment.start_logging()
    first, second = run.create_children(tag_key="fold", tag_values=[1, 2])
    deep = second.child_run("deep", run_id="cats_deep")
    deep.log("loss", 1)
    second.log("loss", 2)
    run.log("loss", 3)
    first.complete()
    deep.cancel()

    assert list(run.get_children()) == [second, first]
    assert list(run.get_children(recursive=True, status="Canceled")) == [deep]
    assert list(run.get_children(tags={"fold": 1})) == [first]
    assert list(run.get_children(recursive=True, tags="fold", status="Running")) == [second]
    assert (deep.parent, run.parent) == (second, None)
    assert run.get_metrics(recursive=True) == {
        run.id: {"loss": 3},
        second.id: {"loss": 2},
        first.id: {},
        deep.id: {"loss": 1},
    }
    assert list(experiment.get_runs()) == [run]
    assert list(experiment.get_runs(include_children=True)) == [deep, second, first, run]
    assert list(Run.list(experiment, status="Completed", include_children=True)) == [first]
    for ask in (
        lambda: list(run.get_children(status="x")),
        lambda: Run.list(experiment, status="x"),
    ):
        with pytest.raises(NameRejected, match="use one of NotStarted, Starting"):
            ask()
    with pytest.raises(DefinitionRejected, match="give a count, or a tag_key"):
        run.create_children()


def test_an_experiment_is_known_with_its_first_run(workspace: Workspace) -> None:
    """
    Naming an experiment writes nothing; the first run or tag makes it, and lists find it by tags.
    """
    cats, dogs = Experiment(workspace, "cats"), Experiment(workspace, "Dogs")
    none = Experiment.list(workspace)

    cats.start_logging()
    dogs.tag("color", "brown")
    dogs.set_tags({"size": 3, "gone": 1})
    dogs.remove_tags("gone")

    assert none == []
    assert Experiment.list(workspace) == [dogs, cats]
    assert Experiment.list(workspace, tags="color") == [dogs]
    assert Experiment.list(workspace, tags={"color": "red"}) == []
    assert Experiment.list(workspace, "cats") == [cats]
    assert (dogs.tags, cats.tags) == ({"color": "brown", "size": "3"}, {})
    assert repr(cats) == "Experiment(Name: cats, Workspace: demo)"


def test_a_run_is_found_by_its_id(workspace: Workspace, history: RunHistory) -> None:
    """
    `Run.get` gives an equal run, whose labels can be changed and whose tables are safe in HTML.
    """
    run = Run.get(workspace, RUN)
    run.display_name = "<b>bold</b>"
    run.description = "words"
    run.tag("a", 1)
    run.add_properties({"p": 2})

    assert run == Run(Experiment(workspace, "cats"), RUN)
    assert (run.name, run.description, run.tags, run.properties) == (
        "<b>bold</b>", "words", {"a": "1"}, {"p": "2"},
    )  # fmt: skip
    assert "<td>Running</td>" in run._repr_html_()
    assert run.type == "azureml.scriptrun"
    with pytest.raises(NotRegistered, match=r'no run "x" .*"cats_1"'):
        Run.get(workspace, "x")


def test_the_output_is_followed_to_the_end(
    workspace: Workspace, history: RunHistory, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Waiting shows what the script says as it says it, each byte once, and returns the details.
    """
    log = project / "logs" / "output.log"
    log.parent.mkdir()
    log.write_text("one\n")

    def go_on() -> None:
        with log.open("a") as file:
            file.write("two\n")
        history.change(RUN, status=Status.COMPLETED, exit_code=0)

    timer = threading.Timer(0.3, go_on)
    timer.start()
    details = Run.get(workspace, RUN).wait_for_completion(show_output=True)
    timer.join()

    assert details["status"] == "Completed"
    assert capsys.readouterr().out == (
        "RunId: cats_1\n\none\ntwo\n\nExecution Summary\n=================\n"
        "RunId: cats_1\nStatus: Completed\n"
    )


def test_a_failure_is_raised_unless_it_need_not_be(
    workspace: Workspace, history: RunHistory
) -> None:
    """
    Waiting for a run that failed raises its reason and the next step, or returns its details.
    """
    history.change(RUN, status=Status.FAILED, error="it broke")
    run = Run.get(workspace, RUN)

    with pytest.raises(DatastoresError, match=r'"cats_1" failed: it broke; run\.get_details_with'):
        run.wait_for_completion()

    assert run.wait_for_completion(raise_on_error=False)["status"] == "Failed"


def test_waiting_for_a_run_that_nobody_looks_after_ends(
    workspace: Workspace, history: RunHistory
) -> None:
    """
    A run whose runner was killed ends the waiting with the way to go on.
    """
    history.change(RUN, status=Status.NOT_RESPONDING)

    with pytest.raises(DatastoresError, match=r"its runner was killed; .*resume"):
        Run.get(workspace, RUN).wait_for_completion(raise_on_error=False)


def test_an_interrupt_ends_the_waiting_and_not_the_run(
    workspace: Workspace, history: RunHistory
) -> None:
    """
    SIGINT while waiting says how to cancel and leaves the run as it is.
    """
    program = textwrap.dedent(
        f"""
        from datastores import Run, Workspace
        run = Run.get(Workspace.get("demo"), "{RUN}")
        run.wait_for_completion(show_output=True)
        """
    )
    waiting = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with waiting:
        assert waiting.stdout is not None
        begun = waiting.stdout.readline()
        waiting.send_signal(signal.SIGINT)
        said, trace = waiting.communicate(timeout=60)

    assert begun == "RunId: cats_1\n"
    assert said.strip() == 'run "cats_1" goes on; run.cancel() ends it'
    assert trace.rstrip().endswith("KeyboardInterrupt")
    assert history.get(RUN).status is Status.RUNNING


def test_a_submitted_run_tells_what_it_logged(workspace: Workspace, experiment: Experiment) -> None:
    """
    A script that is submitted logs through its context, and who submitted it reads its metrics,
    labels and end.
    """
    Path("src").mkdir()
    Path("src/train.py").write_text(
        "from datastores import Run\n"
        "run = Run.get_context(allow_offline=False)\n"
        "for step in range(3): run.log('loss', 1 / (step + 1), step=step)\n"
        "run.tag('from', run.experiment.workspace.name)\n"
        "print('trained')\n"
    )

    run = experiment.submit(
        ScriptRunConfig("src", "train.py", compute_target="local"), tags={"who": "me"}
    )
    details = run.wait_for_completion()

    assert (details["status"], run.get_tags()) == ("Completed", {"from": "demo", "who": "me"})
    assert run.get_metrics() == {"loss": [1.0, 0.5, 1 / 3]}
    assert run.get_details_with_logs()["logFiles"]["logs/output.log"] == "trained\n"


def test_a_submitted_run_can_be_canceled(workspace: Workspace, experiment: Experiment) -> None:
    """
    `cancel` ends a run whose script would never end; waiting then returns and raises nothing.
    """
    Path("src").mkdir()
    Path("src/train.py").write_text("import threading; threading.Event().wait()\n")
    run = experiment.submit(ScriptRunConfig("src", "train.py", compute_target="local"))

    run.cancel()

    assert run.wait_for_completion()["status"] == "Canceled"
    run.cancel()
