"""`datastores runs`: looking at runs, ending them, going on with them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from datastores import Experiment, PythonScriptStep, RunConfiguration, Workspace
from datastores.submission import Pipeline, submit
from datastores.submission.place import place_of
from tests.cli.test_commands import Call, call
from tests.submission.bench import RUNNER, Signal, kill, wait_for_lock

__all__ = ["call"]


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("DATASTORES_AGENT_STATE", str(runtime / "datastores-agent"))
    monkeypatch.setenv("DATASTORES_CACHE", str(tmp_path / "cache"))


def _run(workspace: Workspace, text: str, experiment: str = "exp") -> str:
    Path("src").mkdir(exist_ok=True)
    Path("src/train.py").write_text(text)
    config = RunConfiguration(script="train.py")
    return submit(workspace, experiment, config, source_directory="src")


def _finish(workspace: Workspace, run_id: str) -> str:
    wait_for_lock(place_of(workspace, run_id).root / "runner.lock")
    return run_id


@pytest.fixture
def good(workspace: Workspace) -> str:
    return _finish(workspace, _run(workspace, "print('fine')", "good"))


@pytest.fixture
def bad(workspace: Workspace, good: str) -> str:
    return _finish(workspace, _run(workspace, "raise SystemExit(4)", "bad"))


def test_runs_are_listed_the_newest_first(call: Call, good: str, bad: str) -> None:
    """A table for people, records for programs, filters by experiment and state."""
    table = call("runs", "list")
    everything = call("runs", "list", "--json").json

    lines = [line.split()[:3] for line in table.out.splitlines()]
    assert lines == [
        ["run", "name", "experiment"],
        [bad, "bad", "Failed"],
        [good, "good", "Completed"],
    ]
    assert [one["run_id"] for one in everything] == [bad, good]
    assert [one["run_id"] for one in call("runs", "list", "--status", "failed", "--json").json] == [
        bad
    ]
    assert [
        one["run_id"] for one in call("runs", "list", "--experiment", "good", "--json").json
    ] == [good]


def test_an_unknown_state_or_run_is_told_with_the_known_ones(call: Call, good: str) -> None:
    """Exit code 2 for a state, 4 for a run; both name what there is."""
    state, run = call("runs", "list", "--status", "broken"), call("runs", "show", "nowhere")

    assert (state.code, "Completed" in state.err) == (2, True)
    assert (run.code, good in run.err) == (4, True)


def test_a_run_is_shown_with_its_reason_and_its_log(call: Call, bad: str) -> None:
    """Without an id it is the newest one."""
    shown = call("runs", "show")

    facts = dict(line.split(maxsplit=1) for line in shown.out.splitlines()[:4] if line)
    assert facts["run"] == bad
    assert "the script failed with exit code 4" in shown.out
    assert call("runs", "show", bad, "--json").json["exit_code"] == 4


def test_logs_show_what_the_script_said(call: Call, good: str) -> None:
    """Its words alone, to the byte."""
    assert call("runs", "logs", good).out == "fine\n"


def test_a_run_is_canceled(call: Call, workspace: Workspace, tmp_path: Path) -> None:
    """With --wait the command returns when the run has ended."""
    told = Signal(tmp_path / "told")
    run_id = _run(
        workspace,
        f"open({str(told.path)!r}, 'w').write('x')\nimport threading\nthreading.Event().wait(300)",
    )
    told.wait()

    answer = call("runs", "cancel", run_id, "--wait")

    assert (answer.code, answer.out) == (0, f"{run_id}: Canceled\n")
    _finish(workspace, run_id)


def test_a_run_whose_runner_was_killed_is_resumed(
    call: Call, workspace: Workspace, tmp_path: Path
) -> None:
    """It is listed as NotResponding with what to do, and `resume` brings it to its end."""
    told, go = Signal(tmp_path / "told"), tmp_path / "go"
    os.mkfifo(go)
    run_id = _run(
        workspace,
        f"open({str(told.path)!r}, 'w').write('x')\nopen({str(go)!r}).read()\nprint('on')",
    )
    told.wait()
    kill(place_of(workspace, run_id), RUNNER)

    shown = call("runs", "show", run_id)
    started = call("runs", "resume", run_id, "--detach")
    go.write_text("go")
    _finish(workspace, run_id)

    assert "NotResponding" in shown.out
    assert f"datastores runs resume {run_id}" in shown.out
    assert started.code == 0
    assert call("runs", "show", run_id, "--json").json["status"] == "Completed"
    again = call("runs", "resume", run_id)
    assert (again.code, "nothing is left to do" in again.err) == (3, True)


def test_ids_are_completed_by_the_shell(good: str, bad: str) -> None:
    """After `runs logs` the shell offers the ids that begin so."""
    told = {
        "COMP_WORDS": "datastores runs logs goo",
        "COMP_CWORD": "3",
        "_DATASTORES_COMPLETE": "bash_complete",
    }

    answer = subprocess.run(
        [sys.executable, "-c", "from datastores.cli.main import main; main()"],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert answer.stdout == f"plain,{good}\n"


def test_a_pipeline_is_shown_with_its_steps(call: Call, workspace: Workspace) -> None:
    """Its steps and their states; logs ask which step is meant; the list hides steps."""
    Path("src").mkdir()
    Path("src/one.py").write_text("print('one')")
    Path("src/two.py").write_text("raise SystemExit(2)")
    first, second = (
        PythonScriptStep(f"{name}.py", name=name, compute_target="local", source_directory="src")
        for name in ("one", "two")
    )
    second.run_after(first)
    run_id = _finish(workspace, Pipeline(workspace, [second]).submit("exp"))

    shown, logs = call("runs", "show"), call("runs", "logs")
    listed, everything = call("runs", "list", "--json"), call("runs", "list", "--all", "--json")

    states = [line.split()[0] for line in shown.out.splitlines() if "Completed" in line]
    assert ("one" in states, 'step "two" failed' in shown.out) == (True, True)
    assert (logs.code, "name one of its steps: one (" in logs.err) == (2, True)
    assert [one["run_id"] for one in listed.json] == [run_id]
    assert len(everything.json) == 3


def test_a_working_folder_goes_after_a_yes(
    call: Call, workspace: Workspace, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`clean` tells what would go, keeps it after a no, and removes it with `--yes`."""
    script = place_of(workspace, good).root / "work" / "train.py"
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))

    told = call("runs", "clean", good, "--dry-run")
    planned = call("runs", "clean", good, "--dry-run", "--json").json
    refused = call("runs", "clean", good)
    kept = script.is_file()
    done = call("runs", "clean", good, "--yes", "--json").json

    assert told.out.splitlines()[0] == f"  goes  {planned['files'][0]}"
    assert str(script) in planned["files"]
    assert (refused.code != 0, kept, script.exists()) == (True, True, False)
    assert done == {"deleted": True, "run_id": good, "files": planned["files"]}


def test_the_source_of_a_run_comes_here(call: Call, workspace: Workspace, good: str) -> None:
    """`snapshot` brings the ZIP of a run that has one, and says how to have one otherwise."""
    Path("code").mkdir()
    Path("code/a.py").write_text("a")
    run = Experiment(workspace, "exp").start_logging(snapshot_directory="code")

    brought = call("runs", "snapshot", run.id, "back", "--json").json
    refused = call("runs", "snapshot", good)

    snapshot = run.get_snapshot_id()
    path = str(Path("back", f"{snapshot}.zip").absolute())
    assert brought == {"run_id": run.id, "snapshot": snapshot, "path": path}
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a.py"]
    assert (refused.code, "source_directory_data_store" in refused.err) == (17, True)
