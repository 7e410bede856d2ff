"""What a run's record holds of the versions that its script read."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import Any

import pytest
from click.testing import CliRunner

from datastores import Estimator
from datastores.cli.main import cli
from datastores.errors import NotRegistered, Unsupported
from datastores.history.experiment import Experiment
from datastores.history.input_versions import FileVersion
from datastores.history.run import Run
from datastores.storage.verbs import objects_below
from tests.submission.bench import Bench


def _submitted(bench: Bench, text: str, *inputs: Any) -> Run:
    bench.script(text)
    estimator = Estimator(
        bench.source, entry_script="train.py", compute_target="local", inputs=list(inputs)
    )
    record = bench.run(estimator)
    return Run.get(bench.workspace, record.run_id)


def _versions(bench: Bench, place: str) -> list[FileVersion]:
    with bench.images.opened() as store:
        return [
            FileVersion(info.key.removeprefix(f"{place}/"), info.size, info.version)
            for info in objects_below(store, place)
        ]


def test_a_record_holds_what_was_downloaded(bench: Bench) -> None:
    """Sizes and ETags of all files, as a list and as a digest that anybody can compute."""
    bench.store({f"train/{index}.txt": b"x" * index for index in range(1, 4)})
    wanted = _versions(bench, "train")

    run = _submitted(bench, "pass", bench.images.path("train").as_download())

    lines = "".join(
        json.dumps([one.name, one.size, one.version], separators=(",", ":")) + "\n"
        for one in wanted
    )
    (used,) = run.get_details()["inputDatasets"]
    assert used["versions"] == {
        "registration": "1",
        "files": "3",
        "bytes": "6",
        "digest": f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}",
        "list": f"logs/inputs/0-{used['name']}.jsonl.gz",
    }
    assert list(run.input_versions(used["name"])) == wanted


def test_the_list_outlives_the_node(bench: Bench) -> None:
    """Where the run's folder is gone, the list comes from the files of the run."""
    bench.store({"train/a.txt": b"alpha"})
    wanted = _versions(bench, "train")
    run = _submitted(bench, "pass", bench.images.path("train", "train").as_download())

    shutil.rmtree(bench.place(run.id).root)

    assert list(run.input_versions("train")) == wanted


def test_a_record_holds_what_was_opened_through_a_mount(bench: Bench) -> None:
    """What the script opened is in the record as if it were downloaded, with the word for it."""
    bench.store({"train/a.txt": b"alpha", "train/b.txt": b"beta"})
    wanted = [one for one in _versions(bench, "train") if one.name == "b.txt"]
    reads = "import os; open(os.environ['AZUREML_DATAREFERENCE_seen'] + '/b.txt').read()"

    run = _submitted(bench, reads, bench.images.path("train", "seen").as_mount())

    (used,) = run.get_details()["inputDatasets"]
    said = {name: used["versions"][name] for name in ("files", "bytes", "how", "shared")}
    assert said == {"files": "1", "bytes": "4", "how": "opened", "shared": "no"}
    assert list(run.input_versions("seen")) == wanted
    shown = CliRunner().invoke(cli, ["runs", "show", run.id, "--workspace", bench.workspace.name])
    assert "over 1 version that were opened" not in shown.output
    assert "over 1 version, opened through the mount" in shown.output


def test_what_is_not_known_is_said(bench: Bench) -> None:
    """An output, an unknown name: a sentence for each, and no made-up list."""
    bench.store({"train/a.txt": b"alpha"})
    run = _submitted(
        bench,
        "open('made', 'w').close()",
        bench.images.path("train", "seen").as_download(),
        bench.images.path("kept", "kept").as_upload("made"),
    )

    with pytest.raises(Unsupported, match="its manifest lists what was written"):
        run.input_versions("kept")
    with pytest.raises(NotRegistered, match='registered: "seen", "kept"'):
        run.input_versions("other")


def test_the_command_shows_them(bench: Bench) -> None:
    """`runs show` has the sum, and with `--versions` the list, as lines and as JSON."""
    bench.store({"train/a.txt": b"alpha"})
    (wanted,) = _versions(bench, "train")
    run = _submitted(bench, "pass", bench.images.path("train", "train").as_download())
    (used,) = run.get_details()["inputDatasets"]
    place = ["--workspace", bench.workspace.name]

    def said(*arguments: str) -> str:
        answer = CliRunner().invoke(cli, ["runs", "show", run.id, *place, *arguments])
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    assert f"train: sha256 {used['versions']['digest'][7:19]} over 1 version" in said()
    assert json.loads(said("--json"))["references"] == [
        {
            "name": "train",
            "datastore": "images",
            "place": "train",
            "mode": "download",
            "versions": used["versions"],
        }
    ]
    assert said("--versions", "train") == f"a.txt\t5\t{wanted.version}\n"
    assert json.loads(said("--versions", "train", "--json")) == [
        {"name": "a.txt", "size": 5, "version": wanted.version}
    ]


def test_a_run_that_nobody_submitted_has_no_inputs(bench: Bench) -> None:
    """An interactive run knows no input by any name."""
    run = Experiment(bench.workspace, "exp").start_logging()
    run.complete()

    with pytest.raises(NotRegistered):
        run.input_versions("train")
