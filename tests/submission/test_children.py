"""Runs that are submitted below others."""

from __future__ import annotations

import json

from datastores import Estimator, RunConfiguration
from datastores.history.experiment import Experiment
from datastores.history.run import Run
from datastores.history.status import Status
from tests.submission.bench import Bench


def test_a_child_is_submitted_below_its_parent(bench: Bench) -> None:
    """It has tags, a parent and an end of its own, and is among the parent's children."""
    bench.script("print('below')")
    parent = Experiment(bench.workspace, "exp").start_logging()
    estimator = Estimator(bench.source, entry_script="train.py", compute_target="local")

    child = parent.submit_child(estimator, tags={"part": "one"})
    bench.begun.append(child.id)
    details = child.wait_for_completion()

    assert details["status"] == "Completed"
    assert child.parent == parent
    assert child.tags == {"part": "one"}
    assert [one.id for one in parent.get_children()] == [child.id]
    assert parent.get_status() == "Running"
    parent.complete()


_PARENT = """
import json, os
from datastores import Run, RunConfiguration
run = Run.get_context()
child = run.submit_child(RunConfiguration(script="child.py"), source_directory={source!r})
print(json.dumps([run.id, child.id]))
"""
_CHILD = """
import json, os
from datastores import Run
run = Run.get_context()
run.log("told", 1)
names = sorted(n for n in os.environ if n.startswith("AZUREML_DATAREFERENCE"))
print(json.dumps([run.id, run.parent.id, names]))
"""


def test_a_script_submits_runs_that_outlive_it(bench: Bench) -> None:
    """The child knows itself and its parent, has none of the parent's data, and ends by itself."""
    bench.store({"train/a.txt": b"alpha"})
    bench.script(_PARENT.format(source=str(bench.source)))
    bench.script(_CHILD, "child.py")
    config = RunConfiguration(script="train.py")
    config.data_references = {
        "train": bench.images.path("train").as_download().to_config(),
    }

    parent = bench.run(config)

    assert (parent.status, parent.error) == (Status.COMPLETED, None)
    parent_id, child_id = json.loads(bench.output(parent.run_id))
    bench.begun.append(child_id)
    child = bench.finished(child_id)
    assert (child.status, child.error, child.parent) == (Status.COMPLETED, None, parent_id)
    assert json.loads(bench.output(child_id)) == [child_id, parent_id, []]
    run = Run.get(bench.workspace, child_id)
    assert run.get_metrics() == {"told": 1}
