"""Wrong usage, for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import Call, call, images

__all__ = ["call", "images"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ls", "--json", "--nowhere"), "--nowhere"),
        (("cp", "--json", "only-one"), "Missing argument 'TARGET'."),
        (("runs", "list", "--json", "--status", "lost"), '"lost" is no state'),
        (("runs", "list", "--json", "-n", "0"), "0 is not in the range x>=1"),
        (("nothing", "--json"), "No such command 'nothing'"),
        (("cp", "a", "b", "--json"), "write it as NAME:PATH"),
    ],
)
def test_wrong_usage_is_json_on_stderr(
    call: Call, workspace: object, arguments: tuple[str, ...], said: str
) -> None:
    """With `--json` a mistake is one JSON object with the code, and stdout stays empty."""
    assert workspace

    answer = call(*arguments)

    told = json.loads(answer.err)
    assert (answer.code, answer.out, told["error"], told["exit_code"]) == (2, "", "UsageError", 2)
    assert said in told["message"]


def test_wrong_usage_is_text_for_people(call: Call) -> None:
    """Without `--json`, and behind `--`, it is what a person reads."""
    answer = call("run", "--nowhere", "train.py", "--", "--json")

    assert answer.code == 2
    assert "Usage: datastores run" in answer.err


def test_nobody_to_ask_is_json_too(workspace: object) -> None:
    """Without a terminal and without `--yes`, a program learns how to answer beforehand."""
    assert workspace

    answer = subprocess.run(
        [sys.executable, "-m", "datastores", "ws", "delete", "demo", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    told = json.loads(answer.stderr)
    assert (answer.returncode, told["error"], told["exit_code"]) == (2, "UsageError", 2)
    assert "--yes" in told["message"]


def test_a_repair_is_told_in_events(call: Call, images: str) -> None:
    """Every line is an event, the first says what was found and the last what was done."""
    call("cp", f"{images}:", "out", "-q")
    Path("out/labels.csv").write_bytes(b"broken")

    lines = call("repair", "out", f"{images}:", "--json").out.splitlines()

    events = [json.loads(line) for line in lines]
    assert events[0] == {
        "event": "verified",
        "files": 3,
        "good": 2,
        "findings": [{"name": "labels.csv", "problem": "wrong size", "bad_ranges": 0}],
    }
    assert {one["event"] for one in events[1:-1]} == {
        "found",
        "started",
        "finished",
        "moved",
        "closed",
    }
    assert (events[-1]["event"], events[-1]["moved"]) == ("summary", 1)
    assert Path("out/labels.csv").read_bytes() == bytes(5)


def test_a_verification_is_one_document(call: Call, images: str) -> None:
    """`verify` moves nothing, so its answer is the report alone."""
    call("cp", f"{images}:", "out", "-q")

    assert call("verify", "out", f"{images}:", "--json").json == {
        "files": 3,
        "good": 3,
        "findings": [],
    }
