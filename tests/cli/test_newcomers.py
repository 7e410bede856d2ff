"""What people meet in their first hour: words, hints, and things that are not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from datastores import Workspace
from datastores.cli.headings import TASKS
from datastores.cli.main import cli
from tests.cli.test_commands import Answer, Call, call

__all__ = ["call"]

_SNAKE = re.compile(r"[a-z0-9_]+\Z")


@pytest.fixture
def blobs(workspace: Workspace, home: Path) -> Path:
    """The folder of the workspace's first datastore, with a file in a folder."""
    folder = home / "workspaces" / workspace.name / "blobstore"
    (folder / "train").mkdir()
    (folder / "train" / "a.txt").write_text("hello")
    return folder


def commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_stat_of_a_folder_counts(call: Call, blobs: Path) -> None:
    """A folder has its number of files and bytes; the datastore itself is one, too."""
    (blobs / "empty").mkdir()
    assert blobs

    answers = {
        place: call("stat", f"workspaceblobstore:{place}", "--json").json
        for place in ("train", "train/", "", "empty")
    }

    one = {"type": "folder", "files": 1, "bytes": 5}
    assert answers == {
        "train": {"key": "train", **one},
        "train/": {"key": "train", **one},
        "": {"key": "", **one},
        "empty": {"key": "empty", "type": "folder", "files": 0, "bytes": 0},
    }
    assert "5 (5 B)" in call("stat", "workspaceblobstore:train").out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["stat", "workspaceblobstore:nope"], 7, 'see what is there with "datastores ls NAME:"'),
        (["stat", "workspaceblobstore:gone"], 7, '"gone" is a link to "nowhere"'),
        (["cat", "workspaceblobstore:train"], 13, "it is a folder; name a file in it"),
        (["cat", "workspaceblobstore:"], 13, "it is a folder; name a file in it"),
        (["cat", "workspaceblobstore:nope"], 7, "see what is there"),
        (["rm", "workspaceblobstore:train"], 13, "it is a folder; give -r"),
        (["rm", "workspaceblobstore:nope"], 7, "see what is there"),
    ],
)
def test_folders_and_nothing_are_told_apart(
    call: Call, blobs: Path, arguments: list[str], code: int, sentence: str
) -> None:
    """A folder where a file is wanted, a broken link and nothing each have their own sentence."""
    (blobs / "gone").symlink_to("nowhere")

    answer = call(*arguments)

    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.err


def test_links_do_not_stop_a_look_or_a_copy(
    call: Call, blobs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Dangling links and circles cost a sentence; `ls`, `du` and `cp` go on without them."""
    (blobs / "gone").symlink_to("nowhere")
    (blobs / "self").symlink_to("self")
    (blobs / "train" / "up").symlink_to("..")

    listed = call("ls", "-r", "workspaceblobstore:")
    size = call("du", "workspaceblobstore:", "--json")
    copied = call("cp", "workspaceblobstore:", "out")

    assert (listed.code, listed.out) == (0, "train/a.txt\n")
    assert (size.code, size.json["files"]) == (0, 1)
    assert copied.code == 0
    assert [str(path) for path in Path("out").rglob("*.txt")] == ["out/train/a.txt"]
    for name in ('"gone"', '"self"', '"train/up"'):
        assert name in caplog.text


def test_programs_meet_one_word_for_one_thing(call: Call, blobs: Path) -> None:
    """Fields of a list are fields of what `show` shows, in snake_case, with times in ISO and UTC."""
    assert blobs
    shown = call("show", "workspaceblobstore", "--json").json
    listed = call("list", "--json").json[0]
    workspace = call("ws", "show", "--json").json
    workspaces = call("ws", "list", "--json").json[0]
    registered = call("register", "local", "more", "here", "--create-if-not-exists", "--json").json
    found = call("stat", "workspaceblobstore:train/a.txt", "--json").json

    assert listed == {name: shown[name] for name in listed}
    assert workspaces == {name: workspace[name] for name in workspaces}
    assert set(registered) == set(shown)
    assert call("default", "--json").json == {"default_datastore": workspace["default_datastore"]}
    answers: list[dict[str, Any]] = [shown, listed, workspace, workspaces, registered, found]
    assert [name for one in answers for name in one if not _SNAKE.match(name)] == []
    for moment in (workspace["created"], found["modified"]):
        assert datetime.fromisoformat(moment).utcoffset() == timedelta()


def test_every_option_has_a_sentence() -> None:
    """No option of the commands for datastores, data and workspaces stands without help."""
    silent = [
        (path, option.name)
        for path, command in commands()
        for option in command.params
        if isinstance(option, click.Option)
        and not option.help
        and path.split()[0] not in TASKS["Run jobs"]
    ]

    assert silent == []


def test_every_kind_of_datastore_has_an_example_that_parses(call: Call) -> None:
    """The examples of `register` are commands: one for each kind, all of whose options exist."""
    for path, command in commands():
        if not path.startswith("register "):
            continue
        examples = re.findall(rf"datastores ({path} .*)", command.epilog or "")
        assert examples, path
        for example in examples:
            given = {word for word in example.split() if word.startswith("--")}
            known = {name for option in command.params for name in option.opts}
            assert given <= known, example
            assert {
                o.opts[-1] for o in command.params if o.required and o.opts[0][0] == "-"
            } <= given
    shown = call("register", "blob", "--help").out
    assert "prompt|stdin|env:VAR" in shown


def test_commands_stand_under_their_tasks(call: Call) -> None:
    """The top of the help has each command that is not hidden once, under a heading."""
    shown = call("--help").out.partition("Places are written")[0]
    context = click.Context(cli)
    wanted = [
        name
        for name in cli.list_commands(context)
        if (command := cli.get_command(context, name)) and not command.hidden
    ]

    listed = re.findall(r"^  ([a-z]+)  +[A-Z]", shown.partition("--help")[2], re.MULTILINE)
    assert sorted(listed) == sorted(wanted)
    assert shown.index("Look at data:") < shown.index("  ls ") < shown.index("Move data:")


def test_a_home_that_cannot_be_written(
    call: Call, blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making a workspace and a download name the variable that chooses another place."""
    assert blobs
    workspace = call("ws", "show", "--json").json
    registry = workspace["registry"]
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DATASTORES_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("DATASTORES_REGISTRY", registry)

    fetched = call("cp", "workspaceblobstore:", "out")
    monkeypatch.delenv("DATASTORES_REGISTRY")
    made = call("ws", "create", "another")

    for answer in (made, fetched):
        assert answer.code == 3
        assert "cannot be written to (Not a directory); set DATASTORES_HOME to" in answer.err
    assert "--folder" in made.err


def test_a_damaged_workspace_hides_no_other(
    call: Call, workspace: Workspace, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`ws list` names an empty registry, says what to do, and shows the others."""
    broken = home / "workspaces" / "broken"
    broken.mkdir()
    (broken / "registry.db").touch()

    answer = call("ws", "list", "--json")

    assert [one["name"] for one in answer.json] == [workspace.name]
    assert "the file is empty, so its workspaces are lost; restore it from a backup" in caplog.text


def test_nothing_found_shows_no_progress(call: Call, blobs: Path) -> None:
    """A copy of what is not there is one sentence and no line of zeros."""
    assert blobs

    answer: Answer = call("cp", "workspaceblobstore:nope", "out")

    assert (answer.code, answer.out) == (7, "")
    assert len(answer.err.splitlines()) == 1
