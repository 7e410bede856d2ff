"""The command as a person and as a script use it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from datastores import Datastore, Workspace
from datastores.cli.main import run
from tests.servers.azurite import Azurite


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Call = Callable[..., Answer]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], home: Path) -> Call:
    """Run `datastores` with these arguments, in the project's folder."""
    assert home

    def called(*arguments: str) -> Answer:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return called


@pytest.fixture
def images(workspace: Workspace, azurite: Azurite) -> str:
    """A container called "images" with three files."""
    made = Datastore.register_azure_blob_container(
        workspace,
        "images",
        azurite.container(),
        azurite.account,
        account_key=azurite.key.reveal(),
        endpoint=azurite.endpoint,
    )
    for name, size in (("train/a.png", 10), ("train/deep/b.png", 2000), ("labels.csv", 5)):
        path = Path("source") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    made.upload("source", show_progress=False)
    return "images"


def test_a_newcomer_makes_a_workspace_and_moves_data(call: Call) -> None:
    """The first session: create, list, copy in, look, copy out."""
    Path("data").mkdir()
    Path("data/x.txt").write_text("hello")

    assert call("ws", "create", "demo").code == 0
    assert [one["name"] for one in call("list", "--json").json] == [
        "workspaceblobstore",
        "workspacefilestore",
    ]
    assert call("cp", "data", "workspaceblobstore:in").code == 0
    assert call("ls", "workspaceblobstore:in").out == "x.txt\n"
    assert call("cat", "workspaceblobstore:in/x.txt").out == "hello"
    assert call("cp", "workspaceblobstore:in", "out").code == 0
    assert Path("out/x.txt").read_text() == "hello"


def test_secrets_come_from_the_environment_and_show_nowhere(
    call: Call, workspace: Workspace, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key read from a variable registers the store; `show` and `list` never print it."""
    monkeypatch.setenv("PICS_KEY", azurite.key.reveal())
    place = ("--account", azurite.account, "--endpoint", azurite.endpoint)
    container = azurite.container()

    made = call(
        "register",
        "blob",
        "pics",
        *place,
        "--container",
        container,
        "--account-key",
        "env:PICS_KEY",
    )
    shown = call("show", "pics"), call("show", "pics", "--json"), call("list"), made

    assert [answer.code for answer in shown] == [0, 0, 0, 0]
    assert shown[1].json["credential_type"] == "AccountKey"
    assert shown[1].json["container_name"] == container
    assert not any(azurite.key.reveal() in answer.out + answer.err for answer in shown)
    assert call("check", "pics").code == 0
    assert workspace.name == "demo"


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(
    call: Call, workspace: Workspace
) -> None:
    """A key typed as an argument is refused with what to write instead."""
    answer = call(
        "register",
        "blob",
        "pics",
        "--account",
        "a",
        "--container",
        "c",
        "--account-key",
        "s3cretk3y",
    )

    assert answer.code == 2
    assert "env:VARIABLE" in answer.err
    assert "s3cretk3y" not in answer.err + answer.out
    assert workspace.datastore_names() == ["workspaceblobstore", "workspacefilestore"]


def test_a_prompt_asks_without_showing(workspace: Workspace, azurite: Azurite) -> None:
    """On a terminal the key is asked for, and what is typed is not echoed."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "datastores", "register", "blob", "pics"]
    command += ["--account", azurite.account, "--container", azurite.container()]
    command += ["--endpoint", azurite.endpoint, "--account-key", "prompt"]
    process = subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, start_new_session=True
    )
    os.close(child)
    seen = b""
    while b"account key" not in seen:
        assert select.select([parent], [], [], 60)[0], seen
        seen += os.read(parent, 4096)
    os.write(parent, azurite.key.reveal().encode() + b"\n")
    process.wait(timeout=60)
    while select.select([parent], [], [], 0.2)[0]:
        try:
            seen += os.read(parent, 4096)
        except OSError:
            break
    os.close(parent)

    assert process.returncode == 0, seen
    assert azurite.key.reveal().encode() not in seen
    assert "pics" in workspace.datastore_names()


def test_looking_shows_people_and_programs_the_same(call: Call, images: str) -> None:
    """`ls`, `stat` and `du` agree in text and in JSON."""
    listed = call("ls", f"{images}:", "--json").lines
    deep = call("ls", f"{images}:train", "-R", "--json").lines
    size = call("du", f"{images}:", "--json").json

    assert [(one["key"], one["type"]) for one in listed] == [
        ("train", "folder"),
        ("labels.csv", "file"),
    ]
    assert [one["key"] for one in deep] == ["train/a.png", "train/deep/b.png"]
    assert call("ls", f"{images}:").out == "train/\nlabels.csv\n"
    assert call("stat", f"{images}:labels.csv", "--json").json["bytes"] == 5
    assert (size["files"], size["bytes"]) == (3, 2015)
    assert "2.0 KiB" in call("du", f"{images}:").out


def test_single_files_take_the_name_they_are_given(call: Call, images: str) -> None:
    """A file becomes the target, or goes into it when the target is a folder, both ways."""
    Path("here").mkdir()
    Path("one.txt").write_text("1")

    codes = [
        call("cp", f"{images}:labels.csv", "here").code,
        call("cp", f"{images}:labels.csv", "here/renamed.csv").code,
        call("cp", "one.txt", f"{images}:train").code,
        call("cp", "one.txt", f"{images}:notes/first.txt").code,
        call("cp", f"{images}:train", "workspaceblobstore:copy").code,
    ]

    assert codes == [0, 0, 0, 0, 0]
    assert sorted(p.name for p in Path("here").iterdir() if p.name[0] != ".") == [
        "labels.csv",
        "renamed.csv",
    ]
    assert call("cat", f"{images}:train/one.txt").out == "1"
    assert call("cat", f"{images}:notes/first.txt").out == "1"
    assert call("ls", "workspaceblobstore:copy").out == "deep/\na.png\none.txt\n"


def test_a_slash_makes_the_target_a_folder(call: Call, images: str) -> None:
    """A target with a slash at its end is a folder, here and there, between stores as well."""
    Path("one.txt").write_text("1")

    call("cp", "one.txt", f"{images}:notes/")
    call("cp", f"{images}:labels.csv", "new/")
    call("cp", f"{images}:labels.csv", "workspaceblobstore:")
    call("cp", f"{images}:labels.csv", f"{images}:train")

    assert call("cat", f"{images}:notes/one.txt").out == "1"
    assert Path("new/labels.csv").exists()
    assert call("ls", "workspaceblobstore:").out == "labels.csv\n"
    assert "labels.csv" in call("ls", f"{images}:train").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["cp", "images:zzz", "out"], 7),
        (["cp", "images:zzz", "workspaceblobstore:x"], 7),
        (["cp", "--delete", "images:zzz", "keep"], 7),
        (["cp", "--delete", "images:labels.csv", "keep"], 2),
        (["cp", "--delete", "keep/mine.txt", "images:train"], 2),
        (["cp", "--delete", "images:labels.csv", "workspaceblobstore:"], 2),
        (["cp", "images:", "keep", "--include", "*.nothing"], 0),
        (["verify", "keep", "images:zzz"], 7),
        (["rm", "-r", "images:zzz", "--yes"], 7),
        (["du", "images:zzz"], 7),
    ],
)
def test_a_slip_deletes_nothing(call: Call, images: str, arguments: list[str], code: int) -> None:
    """A source that is not there is an error and never an empty folder to mirror."""
    Path("keep").mkdir()
    Path("keep/mine.txt").write_text("mine")

    answer = call(*arguments)

    assert (answer.code, images) == (code, "images")
    assert Path("keep/mine.txt").read_text() == "mine"
    assert call("du", "images:", "--json").json["files"] == 3


def test_mirroring_a_folder_deletes_what_is_gone(call: Call, images: str) -> None:
    """--delete removes what the source no longer has; a dry run says so first."""
    call("cp", f"{images}:", "out")
    Path("out/mine.txt").write_text("mine")
    call("rm", f"{images}:labels.csv")

    dry = call("cp", "--delete", "--dry-run", f"{images}:", "out")
    before = Path("out/mine.txt").exists()
    call("cp", "--delete", f"{images}:", "out")

    assert before
    assert "mine.txt" in dry.out
    assert "nothing was copied or deleted" in dry.out
    assert sorted(str(p) for p in Path("out").rglob("*") if p.is_file()) == [
        "out/train/a.png",
        "out/train/deep/b.png",
    ]


def test_nobody_to_ask_is_said(images: str) -> None:
    """Without a terminal a question ends with what to pass instead, and nothing is deleted."""
    said = subprocess.run(
        [sys.executable, "-m", "datastores", "rm", "-r", f"{images}:train"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.returncode == 2
    assert "pass --yes" in said.stderr


def test_copies_can_be_filtered_tried_and_told(call: Call, images: str) -> None:
    """Globs choose, a dry run moves nothing, and JSON tells every file and the sum."""
    dry = call("cp", f"{images}:", "out", "--dry-run")
    arrived = list(Path("out").rglob("*"))
    told = call("cp", f"{images}:", "out", "--include", "**/*.png", "--json")

    assert (dry.code, told.code, arrived) == (0, 0, [])
    assert "would be fetched: train/a.png" in dry.out
    assert told.lines[-1]["event"] == "summary"
    assert told.lines[-1]["moved"] == 2
    assert sorted(str(p) for p in Path("out").rglob("*.*") if p.name[0] != ".") == [
        "out/train/a.png",
        "out/train/deep/b.png",
    ]


def test_damage_is_found_and_repaired(call: Call, images: str) -> None:
    """`verify` ends with its exit code on damage, `repair` mends it, `verify` is content."""
    call("cp", f"{images}:", "out")
    assert {path.name for path in Path("out").iterdir()} == {"train", "labels.csv"}
    Path("out/train/deep/b.png").write_bytes(b"x" * 2000)

    found = call("verify", "out", f"{images}:")
    mended = call("repair", "out", f"{images}:")

    assert (found.code, mended.code) == (12, 0)
    assert "train/deep/b.png" in found.out
    assert call("verify", "out", f"{images}:", "--json").json["findings"] == []
    assert Path("out/train/deep/b.png").read_bytes() == bytes(2000)


def test_a_file_under_another_name_is_found_and_repaired(call: Call, images: str) -> None:
    """A single file that was copied under another name is verified and mended as that file."""
    call("cp", f"{images}:train/deep/b.png", "mine.png")
    Path("mine.png").write_bytes(b"x" * 2000)

    found = call("verify", "mine.png", f"{images}:train/deep/b.png")
    mended = call("repair", "mine.png", f"{images}:train/deep/b.png")

    assert (found.code, mended.code, Path("mine.png").read_bytes()) == (12, 0, bytes(2000))


def test_removing_asks_tells_and_removes(call: Call, images: str) -> None:
    """A dry run names what would go; a folder needs -r; afterwards it is gone."""
    dry = call("rm", "-r", f"{images}:train", "--dry-run")
    refused = call("rm", f"{images}:train")
    gone = call("rm", "-r", f"{images}:train", "--yes")

    assert "would delete train/a.png" in dry.out
    assert (refused.code, gone.code) == (13, 0)
    assert call("ls", f"{images}:").out == "labels.csv\n"


def test_the_default_and_unregistering(call: Call, images: str) -> None:
    """The default is shown and changed; an unregistered store is unknown afterwards."""
    assert call("default").out == "workspaceblobstore\n"
    assert call("default", images).out == "images\n"
    assert call("unregister", images).code == 0
    assert call("show", images).code == 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "nobody"], 4, '"workspaceblobstore", "workspacefilestore"'),
        (["show", "no body"], 3, "use 3 to 255"),
        (["ls", "workspaceblobstore:absent"], 7, "absent"),
        (["cat", "workspaceblobstore:absent"], 7, "absent"),
        (["cp", "here", "there"], 2, "NAME:PATH"),
        (["ls", "local/path"], 2, "NAME:PATH"),
        (["ls", "workspaceblobstore:../x"], 3, "climbs"),
        (["frobnicate"], 2, "No such command"),
        (["ws", "create", "demo"], 5, "already registered"),
    ],
)
def test_mistakes_have_their_code_and_one_sentence(
    call: Call, workspace: Workspace, arguments: list[str], code: int, said: str
) -> None:
    """Every mistake ends with the code of the table and a sentence on stderr, stdout empty."""
    answer = call(*arguments)

    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert workspace.name == "demo"


def test_errors_are_json_for_programs(call: Call, workspace: Workspace) -> None:
    """With --json an error is an object with kind, sentence and code."""
    answer = call("show", "nobody", "--json")

    told = json.loads(answer.err)
    assert (told["error"], told["exit_code"], answer.code) == ("NotRegistered", 4, 4)
    assert workspace.name == "demo"


def test_outside_a_workspace_the_sentence_says_how_to_start(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder without a workspace, any command says how to make one."""
    monkeypatch.chdir(tmp_path)

    answer = call("list")

    assert answer.code == 3
    assert "datastores ws create NAME" in answer.err


def test_deleting_a_workspace_asks_first(call: Call, workspace: Workspace) -> None:
    """A dry run says what goes, by path, and only the real one removes it."""
    run = Path(workspace.registry_place).parent / "runs" / "demo_1"
    run.mkdir(parents=True)
    (run / "order.json").touch()
    dry = call("ws", "delete", "demo", "--dry-run")
    assert call("ws", "show", "--json").json["name"] == "demo"
    gone = call("ws", "delete", "demo", "--yes", "--data")

    assert "workspaceblobstore" in dry.out
    assert f"  goes  {run}\n" in dry.out
    assert (gone.code, run.parent.parent.exists()) == (0, False)
    assert call("ws", "list", "--json").json == []
    assert workspace.name == "demo"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(call: Call, shell: str) -> None:
    """Each shell gets a script that calls us back."""
    answer = call("completion", shell)

    assert answer.code == 0
    assert "_DATASTORES_COMPLETE" in answer.out


def test_names_complete(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell completes datastores, and places with their colon."""
    monkeypatch.setenv("COMP_WORDS", "datastores ls workspaceb")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_DATASTORES_COMPLETE", "bash_complete")

    said = subprocess.run(
        [sys.executable, "-m", "datastores"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.stdout == "plain,workspaceblobstore:\n"
    assert workspace.name == "demo"


def test_bash_completes_behind_the_colon(call: Call, images: str) -> None:
    """A real bash completes names with their colon, what is in a store, and the word after it."""
    script = call("completion", "bash").out
    wrapper = Path("bin/datastores")
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m datastores "$@"\n')
    wrapper.chmod(0o755)
    asks = (
        f'ask() {{ COMP_LINE="$1"; COMP_POINT=${{#1}}; _datastores_completion {wrapper}; '
        'echo "${COMPREPLY[*]}"; }; compopt() { :; }; '
    )
    lines = [
        "datastores ls ima",
        f"datastores ls {images}:tr",
        f"datastores cp {images}:a workspaceb",
    ]
    commands = "; ".join(f'ask "{line}"' for line in lines)

    said = subprocess.run(
        ["bash", "-c", f"{script}\n{asks}{commands}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.stdout.splitlines() == ["images:", "train/", "workspaceblobstore:"], said.stderr


def test_a_reader_that_has_seen_enough_is_no_error(call: Call, images: str) -> None:
    """`datastores cat ... | head` ends quietly."""
    Path("big").write_bytes(b"line\n" * 400_000)
    call("cp", "big", f"{images}:big")

    command = (
        f"{sys.executable} -m datastores cat {images}:big | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    said = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (said.stdout, said.stderr) == ("line\n0\n", "")


def test_help_teaches_with_examples_and_codes(call: Call) -> None:
    """The top help shows places, examples and every exit code."""
    said = call("--help").out

    assert "datastores cp images:train ./train" in said
    assert all(f"{code} " in said for code in (0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 130))
