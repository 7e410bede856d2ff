"""What cannot work is refused at once: nothing is fetched, recorded or left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datastores import Datastore, Estimator, RunConfiguration, ScriptRunConfig
from datastores.errors import DatastoresError
from datastores.references import DataReferenceConfiguration
from tests.submission.bench import Bench

Case = Callable[[Bench], Any]


def _with(name: str, **fields: Any) -> Callable[[Bench], RunConfiguration]:
    def make(bench: Bench) -> RunConfiguration:
        made = RunConfiguration(script="train.py")
        made.data_references = {name: DataReferenceConfiguration(**fields)}
        return made

    return make


def _two_of_one_name(bench: Bench) -> Estimator:
    return Estimator(
        bench.source,
        entry_script="train.py",
        compute_target="local",
        inputs=[
            bench.images.path("a", "data").as_mount(),
            bench.images.path("b", "data").as_download(),
        ],
    )


def _upload_outside(bench: Bench) -> Estimator:
    return Estimator(
        bench.source,
        entry_script="train.py",
        compute_target="local",
        inputs=[bench.images.as_upload(path_on_compute="../model.pkl")],
    )


def _two_outputs_to_one_place(bench: Bench) -> Estimator:
    return Estimator(
        bench.source,
        entry_script="train.py",
        compute_target="local",
        inputs=[
            bench.images.path("out", "one").as_upload("a"),
            bench.images.path("out/", "two").as_upload("b"),
        ],
    )


def _mounted_database(bench: Bench) -> RunConfiguration:
    Datastore.register_azure_postgre_sql(
        bench.workspace,
        "orders",
        "server",
        "db",
        user_id="me",
        user_password="x" * 12,
        skip_validation=True,
    )
    return _with("orders", datastore_name="orders", mode="mount")(bench)


def _upload_to_the_web(bench: Bench) -> RunConfiguration:
    Datastore.register_fsspec(
        bench.workspace, "web", "https://example.com/data", skip_validation=True
    )
    return _with("page", datastore_name="web", mode="upload", path_on_compute="x")(bench)


def _on_databricks(bench: Bench) -> RunConfiguration:
    Datastore.register_dbfs(bench.workspace, "bricks")
    return _with("bricks", datastore_name="bricks", mode="download")(bench)


def _missing_script(bench: Bench) -> ScriptRunConfig:
    return ScriptRunConfig(bench.source, "nowhere.py")


def _missing_folder(bench: Bench) -> ScriptRunConfig:
    return ScriptRunConfig(bench.source / "nowhere", "train.py")


def _folder_with_the_vault(bench: Bench) -> ScriptRunConfig:
    folder = Path(bench.workspace.registry_place).parent
    (folder / "train.py").write_text("print('never')")
    return ScriptRunConfig(folder, "train.py")


def _ignored_script(bench: Bench) -> ScriptRunConfig:
    (bench.source / ".amlignore").write_text("*.py\n")
    return ScriptRunConfig(bench.source, "train.py")


def _ignored_script_in_a_store(bench: Bench) -> ScriptRunConfig:
    made = _ignored_script(bench)
    made.run_config.source_directory_data_store = "images"
    return made


def _cluster(bench: Bench) -> ScriptRunConfig:
    return ScriptRunConfig(bench.source, "train.py", compute_target="gpu-cluster")


def _broken_yaml(bench: Bench) -> RunConfiguration:
    file = bench.source / "broken.runconfig"
    file.write_text("script: train.py\narguments: [--a\ntarget: local\n")
    return RunConfiguration.load(file)


def _unknown_source_store(bench: Bench) -> ScriptRunConfig:
    made = ScriptRunConfig(bench.source, "train.py")
    made.run_config.source_directory_data_store = "nowhere"
    return made


_CASES: dict[str, tuple[Case, int, tuple[str, ...]]] = {
    "unknown datastore": (
        _with("data", datastore_name="imgs"),
        4,
        ('no datastore "imgs"', '"images"'),
    ),
    "two of one name": (_two_of_one_name, 3, ('"data"', "two references")),
    "upload outside": (_upload_outside, 3, ("../model.pkl", "leaves the working folder")),
    "two outputs to one place": (_two_outputs_to_one_place, 3, ('"one"', '"two"', "images/out")),
    "mounted database": (_mounted_database, 13, ('"orders"', "it can download")),
    "upload to the web": (_upload_to_the_web, 13, ('"web"', "can be mounted and downloaded")),
    "DBFS elsewhere": (_on_databricks, 13, ('"bricks"', "on Databricks nodes only")),
    "missing script": (_missing_script, 3, ('"nowhere.py"', "is not in the source folder")),
    "missing folder": (_missing_folder, 3, ("nowhere", "does not exist")),
    "workspace inside": (_folder_with_the_vault, 3, ("holds the workspace itself",)),
    "ignored script": (_ignored_script, 3, ('"train.py"', '".amlignore"', "!train.py")),
    "ignored script in a store": (
        _ignored_script_in_a_store,
        3,
        ('"train.py"', '".amlignore"', "!train.py"),
    ),
    "cluster": (_cluster, 3, ('"gpu-cluster"', '"local"')),
    "broken YAML": (_broken_yaml, 3, ("broken.runconfig", "line 3, column 7")),
    "unknown store for the source": (_unknown_source_store, 4, ('"nowhere"', '"images"')),
    "mode nobody knows": (
        _with("data", datastore_name="images", mode="teleport"),
        13,
        ('"teleport"', "mount, download and upload"),
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_bad_input_is_refused_before_anything_happens(bench: Bench, case: str) -> None:
    """Each mistake has its exit code and a sentence with the names; no run, no folder is made."""
    make, code, words = _CASES[case]
    bench.script("print('never')")

    with pytest.raises(DatastoresError) as refused:
        bench.submit(make(bench))

    sentence = str(refused.value)
    assert refused.value.exit_code == code, sentence
    assert [word for word in words if word not in sentence] == [], sentence
    assert bench.history.list() == []
    assert not (Path(bench.workspace.registry_place).parent / "runs").exists()


def test_the_same_id_twice_is_refused(bench: Bench) -> None:
    """A second run of one id neither starts nor touches the first one."""
    bench.script("print('once')")
    first = bench.run(run_id="mine")

    with pytest.raises(DatastoresError, match=r'"mine".*is there already') as refused:
        bench.submit(run_id="mine")

    assert refused.value.exit_code == 3
    assert bench.finished("mine") == first
