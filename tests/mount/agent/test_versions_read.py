"""What a run's report says of the versions that its script read."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datastores.contract import InputMode
from datastores.storage.local import LocalStore
from datastores.transfer import Options, download
from mount.agent.inventory import Inventory, write_inventory
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.jobs import ROOT, Bench

# A script that opens these files of its one mounted input, and looks at all.
_READS = """
import os
root = os.environ["AZUREML_DATAREFERENCE_train"]
for folder, _, names in os.walk(root):
    for name in names:
        os.stat(os.path.join(folder, name))
for name in {!r}:
    with open(os.path.join(root, name), "rb") as file:
        file.read()
"""


def _reads(*names: str) -> str:
    return _READS.format(list(names))


def _versions(bench: Bench) -> dict[str, Any]:
    return {one["name"]: one["versions"] for one in bench.report()["inputs"]}


def _lines(bench: Bench, versions: dict[str, Any]) -> list[Any]:
    text = gzip.decompress((bench.run / versions["list"]).read_bytes())
    assert versions["digest"] == f"sha256:{hashlib.sha256(text).hexdigest()}"
    return [json.loads(line) for line in text.splitlines()]


def test_a_download_lists_its_versions(bench: Bench, cloud: Cloud) -> None:
    """Each file that was downloaded is listed with its size and ETag, and the sum is in the report."""
    with cloud.store() as store:
        store.write("train/b.txt", b"beta")
        store.write("train/a/x.txt", b"alpha!")
    etags = cloud.versions("train")
    given = bench.input("train", "train", definition=cloud.definition, lease=cloud.lease)
    bench.script("pass")

    ended = bench.start(bench.spec(inputs=(given,), outputs=())).end()

    assert ended.code == 0
    versions = _versions(bench)["train"]
    assert {key: versions[key] for key in ("known", "files", "bytes")} == {
        "known": True,
        "files": 2,
        "bytes": 10,
    }
    assert _lines(bench, versions) == [
        ["a/x.txt", 6, etags["train/a/x.txt"]],
        ["b.txt", 4, etags["train/b.txt"]],
    ]


def test_what_a_script_does_to_its_input_changes_no_version(bench: Bench) -> None:
    """Files that the script rewrites or removes are listed as they were read."""
    bench.script(
        "import os, pathlib\n"
        "here = pathlib.Path(os.environ['AZUREML_DATAREFERENCE_train'])\n"
        "(here / 'a.txt').unlink(); (here / 'cats' / 'b.txt').write_text('other')"
    )

    bench.start(bench.spec(outputs=())).end()

    listed = _lines(bench, _versions(bench)["train"])
    assert [one[:2] for one in listed] == [["a.txt", 5], ["cats/b.txt", 4]]


def test_equal_inputs_have_one_digest(bench: Bench) -> None:
    """Two names for one place have one digest, and another place has another."""
    bench.script("pass")
    inputs = (
        bench.input("one", "train", path_on_compute="one"),
        bench.input("two", "train", path_on_compute="two"),
        bench.input("labels", "labels.csv"),
    )

    bench.start(bench.spec(inputs=inputs, outputs=())).end()

    digests = {name: one["digest"] for name, one in _versions(bench).items()}
    assert digests["one"] == digests["two"]
    assert digests["labels"] != digests["one"]


def test_an_agent_that_follows_a_killed_one_knows_them_too(bench: Bench) -> None:
    """After kill -9 while the script runs, the next agent's report has the same versions."""
    bench.script("import time; print('up', flush=True); time.sleep(600)")
    with_kill = bench.start(bench.spec(outputs=()))
    with_kill.until(b"up")
    with_kill.kill()

    bench.resume().end()

    versions = _versions(bench)
    assert [one[0] for one in _lines(bench, versions["train"])] == ["a.txt", "cats/b.txt"]
    assert [one[0] for one in _lines(bench, versions["labels"])] == ["labels.csv"]


def test_a_mount_lists_what_was_opened(bench: Bench, cloud: Cloud) -> None:
    """Each version that the script opened is there once, and what it only looked at is not."""
    with cloud.store() as store:
        for key in ("a/x.txt", "b.txt", "c.txt"):
            store.write(f"train/{key}", key.encode())
    etags = cloud.versions("train")
    given = bench.input(
        "train", "train", mode=InputMode.MOUNT, definition=cloud.definition, lease=cloud.lease
    )
    bench.script(_reads("a/x.txt", "b.txt", "b.txt"))

    ended = bench.start(bench.spec(inputs=(given,), outputs=())).end()

    assert ended.code == 0, ended.err
    versions = _versions(bench)["train"]
    assert _lines(bench, versions) == [
        ["a/x.txt", 7, etags["train/a/x.txt"]],
        ["b.txt", 5, etags["train/b.txt"]],
    ]
    assert {name: versions[name] for name in ("known", "files", "bytes", "how", "shared")} == {
        "known": True,
        "files": 2,
        "bytes": 12,
        "how": "opened",
        "shared": False,
    }


def test_a_mount_that_was_read_whole_has_the_digest_of_a_download(bench: Bench) -> None:
    """Whoever opens all files through a mount has read what a download would have brought."""
    bench.script(_reads("a.txt", "cats/b.txt"))
    inputs = (
        bench.input("train", "train", mode=InputMode.MOUNT),
        bench.input("copied", "train", path_on_compute="copied"),
    )

    bench.start(bench.spec(inputs=inputs, outputs=())).end()

    versions = _versions(bench)
    assert versions["train"]["digest"] == versions["copied"]["digest"]
    assert "how" not in versions["copied"]


def test_a_mount_of_which_nothing_was_opened_has_an_empty_list(bench: Bench) -> None:
    """That nothing was opened is known."""
    bench.script("pass")
    spec = bench.spec(inputs=(bench.input("train", "train", mode=InputMode.MOUNT),), outputs=())

    bench.start(spec).end()

    versions = _versions(bench)["train"]
    assert (versions["known"], versions["files"], _lines(bench, versions)) == (True, 0, [])


def test_what_was_opened_survives_the_agent(bench: Bench) -> None:
    """After kill -9 of an agent that mounted by itself the next one lists what was opened."""
    reads = _reads("a.txt")
    bench.script(f"{reads}\nimport time; print('up', flush=True); time.sleep(600)")
    spec = bench.spec(inputs=(bench.input("train", "train", mode=InputMode.MOUNT),), outputs=())
    with_kill = bench.start(spec, "--mounts", "own")
    with_kill.until(b"up")
    with_kill.kill()

    bench.resume().end()

    assert [one[:2] for one in _lines(bench, _versions(bench)["train"])] == [["a.txt", 5]]


@pytest.fixture
def daemon(bench: Bench) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon of the bench's node."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mount.cli", "daemon"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DATASTORES_SPOOL": str(bench.root / "spool")},
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert any(b"serving" in line for line in process.stderr)
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


@pytest.mark.usefixtures("daemon")
def test_a_mount_of_the_daemon_lists_what_was_opened(bench: Bench) -> None:
    """Through the node's daemon the record is the same, and says that nobody else was there."""
    bench.script(_reads("cats/b.txt"))
    spec = bench.spec(inputs=(bench.input("train", "train", mode=InputMode.MOUNT),), outputs=())

    ended = bench.start(spec, "--mounts", "daemon").end()

    assert ended.code == 0, ended.err
    versions = _versions(bench)["train"]
    assert [one[:2] for one in _lines(bench, versions)] == [["cats/b.txt", 4]]
    assert (versions["how"], versions["shared"]) == ("opened", False)


@pytest.mark.usefixtures("daemon")
def test_jobs_that_share_a_mount_are_told_so(bench: Bench, tmp_path: Path) -> None:
    """A job whose mount another one used meanwhile has both jobs' opens in its list, and says so."""
    bench.script(
        _reads("cats/b.txt")
        + "print('up', flush=True)\n"
        + "import pathlib, time\n"
        + f"while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)"
    )
    given = (bench.input("train", "train", mode=InputMode.MOUNT),)
    first = bench.start(bench.spec(inputs=given, outputs=()), "--mounts", "daemon")
    first.until(b"up")
    other = replace(bench, root=tmp_path / "other")
    other.source.mkdir(parents=True)
    other.script(_reads("a.txt"))

    ended = other.start(other.spec(inputs=given, outputs=()), "--mounts", "daemon").end()
    (tmp_path / "go").touch()

    assert (ended.code, first.end().code) == (0, 0)
    found = [_versions(one)["train"] for one in (bench, other)]
    assert [one["shared"] for one in found] == [True, True]
    assert [one[0] for one in _lines(bench, found[0])] == ["a.txt", "cats/b.txt"]
    assert [one[0] for one in _lines(other, found[1])] == ["a.txt"]


def test_a_mount_that_does_not_answer_leaves_a_reason(
    bench: Bench, daemon: subprocess.Popen[bytes]
) -> None:
    """When the daemon's memory of a job is lost, the record says that nothing is known."""
    bench.script(f"{_reads('a.txt')}\nprint('up', flush=True)\nimport time; time.sleep(600)")
    spec = bench.spec(inputs=(bench.input("train", "train", mode=InputMode.MOUNT),), outputs=())
    agent = bench.start(spec, "--mounts", "daemon")
    agent.until(b"up")
    (joined,) = Path(os.environ["DATASTORES_AGENT_STATE"]).glob("hosts/*/joined.json")
    joined.unlink()

    agent.signal(signal.SIGTERM)
    agent.end()

    versions = _versions(bench)["train"]
    assert (versions["known"], "is not noted" in versions["why"]) == (False, True)


def test_notes_that_cannot_be_had_make_no_list(bench: Bench) -> None:
    """A mount that cannot say what was opened leads to a reason, and not to a list of a part."""
    (bench.run / "opened").mkdir(parents=True)
    (bench.run / "opened" / "0").write_text("in the way")
    bench.script(_reads("a.txt"))
    spec = bench.spec(inputs=(bench.input("train", "train", mode=InputMode.MOUNT),), outputs=())

    ended = bench.start(spec, "--mounts", "own").end()

    assert (ended.code, _versions(bench)) == (
        0,
        {
            "train": {
                "known": False,
                "why": "no notes are left of what was opened through the mount",
            }
        },
    )


def test_a_script_that_never_started_has_read_nothing(bench: Bench) -> None:
    """Where an input could not be had, no version is said to have been read."""
    bench.script("pass")
    inputs = (bench.input("train", "train"), bench.input("missing", "nowhere"))

    ended = bench.start(bench.spec(inputs=inputs, outputs=())).end()

    assert (ended.code, _versions(bench)) == (22, {"train": {}, "missing": {}})


def test_a_list_is_sorted_in_pieces(tmp_path: Path) -> None:
    """However few lines are sorted at once, the list and its digest are the same."""
    for index in range(7):
        (tmp_path / "store" / str(index % 3)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / str(index % 3) / f"{index}.txt").write_text("x" * index)
    store = LocalStore("store", tmp_path / "store")
    download(store, "", tmp_path / "here", options=Options(records=tmp_path / "records"))

    sums, texts = set(), set()
    for at_once in (1, 2, 7, 100):
        target = tmp_path / "lists" / f"{at_once}.gz"
        sums.add(write_inventory(tmp_path / "records", target, sorted_at_once=at_once))
        texts.add(target.read_bytes())

    assert len(texts) == 1
    text = gzip.decompress(texts.pop())
    assert sums == {Inventory(7, 21, f"sha256:{hashlib.sha256(text).hexdigest()}")}
    assert text.splitlines() == sorted(text.splitlines())
