"""Pipelines: steps in order, at once where they can be, and what a failure stops."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from datastores import (
    DataTransferStep,
    Estimator,
    EstimatorStep,
    PipelineData,
    PythonScriptStep,
)
from datastores.errors import DatastoresError, DefinitionRejected, NotFound, NotRegistered
from datastores.history.experiment import Experiment
from datastores.history.records import RunRecord
from datastores.history.status import Status
from datastores.submission import Pipeline, cancel, resume, step_manifest, step_output
from tests.servers.azurite import Azurite
from tests.submission.bench import RUNNER, Bench, Signal, kill, register

WRITE = """
import os, pathlib, sys
out = pathlib.Path(sys.argv[1]); out.mkdir(parents=True, exist_ok=True)
read = [p.read_text() for a in sys.argv[2:] for p in sorted(pathlib.Path(a).glob("*.txt"))]
(out / "said.txt").write_text("+".join([os.path.basename(__file__)[:-3], *read]))
"""


@pytest.fixture
def data(bench: Bench) -> Any:
    """Pipeline data in the container, uploaded by the step that writes it."""
    return lambda name: PipelineData(name, bench.images, output_mode="upload")


def _step(bench: Bench, name: str, output: PipelineData, *inputs: Any) -> PythonScriptStep:
    bench.script(WRITE, f"{name}.py")
    return PythonScriptStep(
        f"{name}.py",
        name=name,
        arguments=[output, *inputs],
        inputs=list(inputs),
        outputs=[output],
        compute_target="local",
        source_directory=str(bench.source),
    )


def _finished(bench: Bench, run_id: str) -> tuple[RunRecord, dict[str, RunRecord]]:
    record = bench.finished(run_id)
    children = bench.history.list(parent=run_id)
    return record, {str(child.display_name): child for child in children}


def test_steps_pass_on_what_they_wrote(bench: Bench, data: Any, azurite: Azurite) -> None:
    """A script, an estimator and a copy between stores: each reads what the one before left."""
    archive = register(bench.workspace, azurite, "archive")
    first, second = data("first"), data("second")
    bench.script(WRITE, "learn.py")
    learn = EstimatorStep(
        name="learn",
        estimator=Estimator(bench.source, entry_script="learn.py", compute_target="local"),
        estimator_entry_script_arguments=[second, first],
        inputs=[first],
        outputs=[second],
        compute_target="local",
    )
    copy = DataTransferStep("copy", second, archive.path("kept", "kept"), compute_target="local")
    pipeline = Pipeline(bench.workspace, [copy, learn, _step(bench, "prepare", first)])

    run = Experiment(bench.workspace, "exp").submit(pipeline, tags={"kind": "pipeline"})
    record, steps = _finished(bench, run.id)

    assert (record.status, record.exit_code, record.error) == (Status.COMPLETED, 0, None)
    assert {
        name: (one.status, one.parent, one.type) for name, one in steps.items()
    } == dict.fromkeys(("prepare", "learn", "copy"), (Status.COMPLETED, run.id, "azureml.StepRun"))
    assert record.type == "azureml.PipelineRun"
    assert bench.stored("kept", archive) == {"said.txt": b"learn+prepare"}
    output = step_output(bench.workspace, run.id, "learn", "second")
    assert bench.stored(output.place) == {"said.txt": b"learn+prepare"}
    copied = step_output(bench.workspace, run.id, "copy", "_data_transfer_output")
    assert (copied.datastore.name, copied.place) == ("archive", "kept")


def test_independent_steps_run_at_the_same_time(bench: Bench, tmp_path: Path) -> None:
    """Two steps that wait for each other through pipes both end."""
    os.mkfifo(tmp_path / "one")
    os.mkfifo(tmp_path / "two")
    for name, mine, other in (("a", "one", "two"), ("b", "two", "one")):
        order = (
            f"open({str(tmp_path / mine)!r}, 'w').close()",
            f"open({str(tmp_path / other)!r}).close()",
        )
        bench.script("\n".join(order if name == "a" else reversed(order)), f"{name}.py")
    steps = [
        PythonScriptStep(
            f"{n}.py", name=n, compute_target="local", source_directory=str(bench.source)
        )
        for n in ("a", "b")
    ]

    record, _ = _finished(bench, Pipeline(bench.workspace, steps).submit("exp", at_once=2))

    assert record.status is Status.COMPLETED


@pytest.mark.parametrize(("goes_on", "other"), [(False, Status.CANCELED), (True, Status.COMPLETED)])
def test_a_failed_step_stops_those_that_need_it(
    bench: Bench, data: Any, *, goes_on: bool, other: Status
) -> None:
    """The reason names the step; independent steps go on only where that was asked for."""
    broken = data("broken")
    bad = PythonScriptStep(
        "bad.py",
        name="bad",
        outputs=[broken],
        compute_target="local",
        source_directory=str(bench.source),
    )
    bench.script("import sys; sys.exit(3)", "bad.py")
    after = _step(bench, "after", data("never"), broken)
    apart = _step(bench, "apart", data("other"))
    pipeline = Pipeline(bench.workspace, [bad, after, apart])

    run_id = pipeline.submit("exp", continue_on_step_failure=goes_on, at_once=1)
    record, steps = _finished(bench, run_id)

    assert (record.status, record.exit_code) == (Status.FAILED, 3)
    assert record.error is not None
    assert record.error.startswith('step "bad" failed: the script failed with exit code 3')
    assert (steps["after"].status, steps["after"].error) == (
        Status.CANCELED,
        'not started, since step "bad" failed',
    )
    assert steps["apart"].status is other


def test_a_canceled_pipeline_ends_its_steps(bench: Bench, tmp_path: Path) -> None:
    """The step at work is canceled, those after it are not started."""
    told = Signal(tmp_path / "told")
    bench.script(
        f"open({str(told.path)!r}, 'w').write('x')\nimport threading\nthreading.Event().wait(300)",
        "long.py",
    )
    bench.script("print('never')", "next.py")
    long, following = (
        PythonScriptStep(
            f"{n}.py", name=n, compute_target="local", source_directory=str(bench.source)
        )
        for n in ("long", "next")
    )
    following.run_after(long)
    run_id = Pipeline(bench.workspace, [following]).submit("exp")
    told.wait()

    cancel(bench.workspace, run_id)
    record, steps = _finished(bench, run_id)

    assert (record.status, record.error) == (Status.CANCELED, None)
    assert {name: one.status for name, one in steps.items()} == {
        "long": Status.CANCELED,
        "next": Status.CANCELED,
    }


def test_a_pipeline_goes_on_after_its_runner_was_killed(
    bench: Bench, data: Any, tmp_path: Path
) -> None:
    """Completed steps are not done again, the one at work is kept, the rest follows."""
    told, go = Signal(tmp_path / "told"), tmp_path / "go"
    os.mkfifo(go)
    first, second = data("first"), data("second")
    bench.script(
        f"open({str(told.path)!r}, 'w').write('x')\nopen({str(go)!r}).read()\n" + WRITE, "wait.py"
    )
    waits = PythonScriptStep(
        "wait.py",
        name="wait",
        arguments=[second, first],
        inputs=[first],
        outputs=[second],
        compute_target="local",
        source_directory=str(bench.source),
    )
    last = _step(bench, "last", data("third"), second)
    run_id = Pipeline(bench.workspace, [_step(bench, "begin", first), waits, last]).submit("exp")
    told.wait()
    kill(bench.place(run_id), RUNNER)

    resume(bench.workspace, run_id)
    go.write_text("go")
    record, steps = _finished(bench, run_id)

    assert (record.status, record.error) == (Status.COMPLETED, None)
    output = step_output(bench.workspace, run_id, "last", "third")
    assert bench.stored(output.place) == {"said.txt": b"last+wait+begin"}
    assert {one.exit_code for one in steps.values()} == {0}


def test_all_steps_are_checked_before_the_first_starts(bench: Bench, data: Any) -> None:
    """A mistake in the last step leaves no record and no folder."""
    first = data("first")
    wrong = PythonScriptStep(
        "missing.py",
        name="wrong",
        inputs=[first],
        compute_target="local",
        source_directory=str(bench.source),
    )
    pipeline = Pipeline(bench.workspace, [_step(bench, "good", first), wrong])

    with pytest.raises(DatastoresError, match=r'"missing\.py" is not in the source folder'):
        pipeline.submit("exp")

    assert pipeline.validate() != []
    assert bench.history.list() == []
    assert not bench.place("x").root.parent.exists()


def test_two_copies_to_one_place_are_refused(bench: Bench) -> None:
    """Both steps are named."""
    target = bench.images.path("kept", "kept")
    steps = [
        DataTransferStep(name, bench.images.path(name, name), target, compute_target="local")
        for name in ("one", "two")
    ]

    with pytest.raises(DefinitionRejected, match=r'"two".*"one".*images/kept'):
        Pipeline(bench.workspace, steps).submit("exp")


def test_an_output_nobody_wrote_is_told_with_those_there_are(bench: Bench, data: Any) -> None:
    """Step and port by name, or the names that exist."""
    run_id = Pipeline(bench.workspace, [_step(bench, "only", data("first"))]).submit("exp")
    bench.finished(run_id)

    with pytest.raises(NotRegistered, match=r'no step "other".*only'):
        step_output(bench.workspace, run_id, "other", "first")
    with pytest.raises(NotRegistered, match=r'no output "second".*first'):
        step_output(bench.workspace, run_id, "only", "second")


LIST = """
import os, pathlib, sys
found = [sorted(str(p.relative_to(a)) for p in pathlib.Path(a).rglob("*")) for a in sys.argv[1:]]
print(found)
"""


@pytest.mark.parametrize("writing", ["upload", "mount"])
def test_a_step_reads_data_and_no_manifest(bench: Bench, writing: str) -> None:
    """By mount and by download, all that is in an input is what the step before wrote."""
    out = PipelineData("made", bench.images, output_mode=writing)
    prepare = _step(bench, "prepare", out)
    bench.script(LIST, "list.py")
    readers = [
        PythonScriptStep(
            "list.py",
            name=mode,
            arguments=[port],
            inputs=[port],
            compute_target="local",
            source_directory=str(bench.source),
        )
        for mode, port in (("mounted", out.as_mount()), ("downloaded", out.as_download()))
    ]

    run_id = Pipeline(bench.workspace, [prepare, *readers]).submit("exp", at_once=1)
    record, steps = _finished(bench, run_id)

    assert (record.status, record.error) == (Status.COMPLETED, None)
    for mode in ("mounted", "downloaded"):
        assert bench.output(steps[mode].run_id) == "[['said.txt']]\n", mode


def test_a_manifest_of_a_step_can_be_found(bench: Bench, data: Any) -> None:
    """It names run and files of a port, and there is none of a step that failed."""
    bench.script(
        "import pathlib, sys; pathlib.Path(sys.argv[1], 'half').touch(); sys.exit(3)", "bad.py"
    )
    broken = data("broken")
    bad = PythonScriptStep(
        "bad.py",
        name="bad",
        arguments=[broken],
        outputs=[broken],
        compute_target="local",
        source_directory=str(bench.source),
    )
    good = _step(bench, "good", data("made"))

    run_id = Pipeline(bench.workspace, [good, bad]).submit("exp", continue_on_step_failure=True)
    _, steps = _finished(bench, run_id)

    manifest = step_manifest(bench.workspace, run_id, "good", "made")
    assert (manifest["run_id"], manifest["output"]) == (steps["good"].run_id, "made")
    assert [(one["name"], one["size"]) for one in manifest["files"]] == [("said.txt", 4)]
    with pytest.raises(NotFound):
        step_manifest(bench.workspace, run_id, "bad", "broken")
