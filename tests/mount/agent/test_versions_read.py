"""What a run's report says of the versions that its script read."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from datastores.contract import InputMode
from datastores.storage.local import LocalStore
from datastores.transfer import Options, download
from mount.agent.inventory import Inventory, write_inventory
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.jobs import Bench


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


def test_a_mount_says_that_they_are_not_known(bench: Bench) -> None:
    """What was opened through a mount is not made up: the report says that it is not known."""
    bench.script("pass")
    spec = bench.spec(inputs=(bench.input("train", "train", mode=InputMode.MOUNT),), outputs=())

    bench.start(spec).end()

    assert _versions(bench) == {
        "train": {"known": False, "why": "a mount does not tell which versions were opened"}
    }


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
