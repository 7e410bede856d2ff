"""A script that is started by hand."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from datastores import Run
from datastores.errors import DefinitionRejected
from datastores.history.offline import OfflineRun


def test_without_a_run_the_context_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Outside a run everything that is logged is printed in Azure ML's words.
    """
    Path("a.txt").write_text("a")
    run = Run.get_context()
    assert isinstance(run, OfflineRun)
    run._id = "OfflineRun_1"

    with run:
        run.log("loss", 0.5, step=3)
        run.log_list("list", [1, 2])
        run.log_row("row", x=1)
        run.log_table("table", {"a": [1]})
        run.log_confusion_matrix("matrix", {"data": {}})
        run.upload_file("outputs/a.txt", "a.txt")
        run.tag("who", "me")
        run.add_properties({"commit": "abc"})

    assert capsys.readouterr().out.splitlines() == [
        "[START] Run OfflineRun_1 context",
        "Attempted to log scalar metric loss:",
        "0.5",
        "Attempted to log list metric list:",
        "[1, 2]",
        "Attempted to log row metric row:",
        "{'x': 1}",
        "Attempted to log table metric table:",
        "{'a': [1]}",
        "Attempted to log confusion matrix metric matrix:",
        "{'data': {}}",
        "Attempted to track file outputs/a.txt at a.txt",
        "Attempted to set tag who to me",
        "Attempted to set property commit to abc",
        "[STOP] Run OfflineRun_1 context",
    ]


def test_an_offline_run_has_an_id_and_no_experiment() -> None:
    """
    The id begins as Azure ML's does; asking for the experiment is an `AttributeError` that says
    what to use.
    """
    run = Run.get_context()

    assert run.id.startswith("OfflineRun_")
    assert run.child_run().id != run.id
    with pytest.raises(AttributeError, match=r'no "experiment"; .* Workspace.from_config\(\)'):
        _ = run.experiment
    assert not hasattr(run, "input_datasets")


def test_offline_can_be_refused() -> None:
    """
    With `allow_offline=False` a process that is no run gets an error that says so.
    """
    with pytest.raises(DefinitionRejected, match="not the script of a run; submit it"):
        Run.get_context(allow_offline=False)


def test_what_is_wrong_online_is_wrong_offline() -> None:
    """
    Values, names and files that a real run would refuse are refused offline, so that a script
    fails at its author's and not in the cluster.
    """
    run = Run.get_context()

    for wrong in (
        lambda: run.log("loss", [1]),
        lambda: run.log("", 1),
        lambda: run.log_list("loss", 1),
        lambda: run.log_row("loss"),
        lambda: run.log_table("loss", [1]),  # type: ignore[arg-type]  # what is tested
        lambda: run.log_image("image"),
        lambda: run.log_image("image", plot=object()),
        lambda: run.log_confusion_matrix("matrix", "no json"),
        lambda: run.upload_file("a", "missing.txt"),
        lambda: run.upload_file("../a", io.BytesIO()),
        lambda: run.upload_file("a", 7),  # type: ignore[arg-type]  # what is tested
        lambda: run.upload_files(["a"], []),
        lambda: run.upload_folder("a", "missing"),
        lambda: run.tag("", "x"),
    ):
        with pytest.raises(ValueError):  # of many kinds
            wrong()
