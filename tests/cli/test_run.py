"""`datastores run`: one line from a script and its data to a result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from datastores import RunConfiguration, Workspace
from tests.cli.test_commands import Call, call, images
from tests.submission.bench import Signal

__all__ = ["call", "images"]

SCRIPT = """
import argparse, os, pathlib, sys
given = argparse.ArgumentParser()
given.add_argument("--data"), given.add_argument("--model"), given.add_argument("--epochs", type=int)
given = given.parse_args()
print(sorted(os.listdir(given.data)), os.environ["AZUREML_DATAREFERENCE_labels"].split("/")[-1])
for epoch in range(given.epochs):
    print("epoch", epoch, os.environ.get("WORD"))
pathlib.Path(given.model).mkdir(parents=True, exist_ok=True)
(pathlib.Path(given.model) / "model.txt").write_text("learned")
print("complaint", file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("DATASTORES_AGENT_STATE", str(runtime / "datastores-agent"))
    monkeypatch.setenv("DATASTORES_CACHE", str(tmp_path / "cache"))


def _write(text: str, path: str = "src/train.py") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(textwrap.dedent(text))


def test_a_script_gets_its_data_and_leaves_its_result(call: Call, images: str) -> None:
    """Live output on stdout; a summary with phases, data and the place of the result on stderr."""
    _write(SCRIPT)

    answer = call(
        "run", "src/train.py", "--input", "data=images:train:mount",
        "--input", "labels=images:labels.csv:download",
        "--output", "model=images:runs/{run_id}:upload", "--env", "WORD=hello",
        "--experiment", "cats", "--name", "first try", "--tag", "team=a",
        "--", "--data", "{data}", "--model", "{model}", "--epochs", "2",
    )  # fmt: skip

    shown = call("runs", "show", "--json").json
    run_id = shown["run_id"]
    # The script's two streams keep their own order, and none between them.
    said = answer.out.splitlines()
    assert (answer.code, said.count("complaint")) == (0, 1)
    said.remove("complaint")
    assert said == ["['a.png', 'deep'] labels.csv", "epoch 0 hello", "epoch 1 hello"]
    assert f"run {run_id} completed in" in answer.err
    assert "getting its data" in answer.err
    words = [" ".join(line.split()[:3]) for line in answer.err.splitlines()]
    assert "data mounted images:train" in words
    assert "labels downloaded images:labels.csv" in words
    assert f"model uploaded images:runs/{run_id}" in words
    assert f"result: datastores ls images:runs/{run_id}" in answer.err
    assert call("cat", f"images:runs/{run_id}/model.txt").out == "learned"
    assert (shown["experiment"], shown["display_name"], shown["tags"]) == (
        "cats",
        "first try",
        {"team": "a"},
    )


def test_the_exit_code_is_that_of_the_script(call: Call, workspace: Workspace) -> None:
    """A script that exits with 5 makes the command exit with 5, and the reason is shown."""
    _write("import sys; sys.exit(5)")

    answer = call("run", "src/train.py")

    assert answer.code == 5
    assert "failed, exit code 5" in answer.err
    assert "the script failed with exit code 5" in answer.err


def test_json_leaves_stdout_to_the_record(call: Call, workspace: Workspace) -> None:
    """With --json stdout is one document, and the script speaks on stderr."""
    _write("print('hello')")

    answer = call("run", "src/train.py", "--json")

    assert (answer.json["status"], answer.json["exit_code"]) == ("Completed", 0)
    assert "hello" in answer.err


def test_a_shell_command_sees_its_data(call: Call, images: str) -> None:
    """--command runs a text in a shell, where the variables are the shell's own."""
    answer = call(
        "run", "--command", 'wc -c < "$AZUREML_DATAREFERENCE_labels"',
        "--input", "labels=images:labels.csv",
    )  # fmt: skip

    assert (answer.code, answer.out.strip()) == (0, "5")


def test_a_run_configuration_is_run(call: Call, images: str) -> None:
    """A saved .runconfig with its own references, arguments added behind it."""
    _write("import sys; print(sys.argv[1:])", "project/train.py")
    config = RunConfiguration("train.py", ["--kept", "1"])
    config.save("project", "train.runconfig")

    answer = call("run", "project/.azureml/train.runconfig", "--", "--more")

    assert (answer.code, answer.out) == (0, "['--kept', '1', '--more']\n")


def test_a_detached_run_prints_its_id_and_is_followed_later(
    call: Call, workspace: Workspace
) -> None:
    """--detach returns at once; logs -f shows everything and ends with the run's exit code."""
    _write("print('alone'); raise SystemExit(3)")

    started = call("run", "src/train.py", "--detach")
    followed = call("runs", "logs", "-f", started.out.strip())

    assert started.code == 0
    assert (followed.code, followed.out) == (3, "alone\n")


def test_an_interrupt_ends_the_run(workspace: Workspace, tmp_path: Path) -> None:
    """Ctrl-C in front of a run cancels it; what was kept is told, the exit code says so."""
    told = Signal(tmp_path / "told")
    _write(
        f"""
        import threading
        open({str(told.path)!r}, "w").write("x")
        threading.Event().wait(300)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-m", "datastores", "run", "src/train.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        told.wait()

        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=90)

    assert "ending the run" in err
    assert "canceled" in err
    assert process.returncode != 0


_BAD: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown datastore": (("src/train.py", "-i", "data=imgs:train"), 4, 'no datastore "imgs"'),
    "two of one name": (
        ("src/train.py", "-i", "data=images:a", "-i", "data=images:b"),
        3,
        "two references have this name",
    ),
    "script missing": (("src/other.py",), 3, '"other.py" is not in the source folder'),
    "local path": (("src/train.py", "-i", "data=./here"), 2, "names no datastore"),
    "no sign": (("src/train.py", "-i", "images:train"), 2, "is not NAME=DATASTORE:PATH[:MODE]"),
    "nothing": ((), 2, "name a script or a run configuration"),
    "both": (("src/train.py", "--command", "ls"), 2, "leave one of them out"),
    "broken yaml": (("broken.yml",), 3, "line 3, column 1"),
    "bad variable": (("src/train.py", "-e", "=x"), 2, "is not KEY=VALUE"),
    "climbing place": (("src/train.py", "-i", "data=images:../x"), 3, 'climbs with ".."'),
    "two outputs to one place": (
        ("src/train.py", "-o", "a=images:out", "-o", "b=images:out/"),
        3,
        "are both written to",
    ),
}


@pytest.mark.parametrize("case", _BAD)
def test_bad_lines_are_refused_with_their_exit_code(call: Call, images: str, case: str) -> None:
    """One sentence on stderr, nothing on stdout, no run recorded."""
    arguments, code, words = _BAD[case]
    _write("print('never')")
    Path("broken.yml").write_text("script: train.py\narguments: [--a\n")

    answer = call("run", *arguments)

    assert (answer.code, answer.out) == (code, "")
    assert words in answer.err
    assert call("runs", "list", "--json").json == []


def test_an_error_is_json_where_that_is_wanted(call: Call, workspace: Workspace) -> None:
    """The error's kind, sentence and code; a --json of the script does not count."""
    _write("print('never')")
    wrong = ("run", "src/train.py", "-i", "data=imgs:train")

    as_json, as_text = call(*wrong, "--json"), call(*wrong, "--", "--json")

    assert json.loads(as_json.err)["error"] == "NotRegistered"
    assert as_text.err.startswith("error: ")
