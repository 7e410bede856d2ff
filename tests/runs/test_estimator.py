"""Estimators and script runs: parameters become arguments, references become entries."""

# ruff: noqa: Q000  # the article's examples keep the article's quotes

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from datastores import DataPath, DataReference
from datastores.contract import InputMode, OutputMode, Script, lay_out
from datastores.errors import DefinitionRejected
from datastores.references import DataReferenceConfiguration
from datastores.runs import (
    Environment,
    Estimator,
    PipelineData,
    RunConfiguration,
    ScriptRunConfig,
    plan_job,
)
from datastores.runs.settings import MpiConfiguration, TensorflowConfiguration
from tests.runs.stores import STORES, datastore1, datastore2, datastore3, lease, shop
from tests.runs.stores import workspaceblobstore as def_blob_store

WORK = PurePosixPath("/job")


def test_the_articles_first_example() -> None:
    """A reference in script_params is mounted, and its path takes its place in the arguments."""
    datastore, compute_target = datastore1, "local"
    # Notice that '/' is in front, which indicates the absolute path
    script_params = {
        '--data_dir': datastore.path('/bar').as_mount()
    }  # fmt: skip

    est = Estimator(source_directory='your code directory',
                    entry_script='train.py',
                    script_params=script_params,
                    compute_target=compute_target
                    )  # fmt: skip

    (name,) = est.run_config.data_references
    assert re.fullmatch("[0-9a-f]{32}", name)
    assert est.run_config.data_references[name] == (
        DataReferenceConfiguration("datastore1", "mount", "/bar")
    )
    spec = plan_job(est.run_config, STORES, run_id="r", leases=lease)
    assert spec.work == Script("train.py", ("--data_dir", f"$AZUREML_DATAREFERENCE_{name}"))
    assert [(one.mode, one.definition.name, one.place) for one in spec.inputs] == [
        (InputMode.MOUNT, "datastore1", "bar")
    ]
    assert str(lay_out(spec.references, WORK)[name]) == "/job/datastore1/bar"


def test_the_articles_second_example() -> None:
    """Inputs are downloaded and uploaded as written; they make no arguments."""
    compute_target = "local"

    est = Estimator(source_directory='your code directory',
                    compute_target=compute_target,
                    entry_script='train.py',
                    inputs=[datastore1.as_download(), datastore2.path('./foo').as_download(), datastore3.as_upload(path_on_compute='./bar.pkl')])  # fmt: skip

    spec = plan_job(est.run_config, STORES, run_id="r", leases=lease)
    assert spec.work == Script("train.py")
    assert [(one.mode, one.definition.name, one.place) for one in spec.inputs] == [
        (InputMode.DOWNLOAD, "datastore1", ""),
        (InputMode.DOWNLOAD, "datastore2", "foo"),
    ]
    assert [(one.mode, one.definition.name, one.place) for one in spec.outputs] == [
        (OutputMode.UPLOAD, "datastore3", "")
    ]
    assert [str(path) for path in lay_out(spec.references, WORK).values()] == [
        "/job/datastore1",
        "/job/datastore2/foo",
        "/job/bar.pkl",
    ]


def test_the_articles_third_example() -> None:
    """A DataReference goes into a run configuration, and PipelineData prints as its variable."""
    input_data = DataReference(
           datastore=def_blob_store,
           data_reference_name="input_data",
           path_on_datastore="20newsgroups/20news.pkl")  # fmt: skip

    output = PipelineData("output", datastore=def_blob_store)

    run_config = RunConfiguration("train.py", ["--in", input_data])
    run_config.source_directory_data_store = "workspaceblobstore"
    spec = plan_job(run_config, STORES, run_id="r", leases=lease)
    assert str(output) == "$AZUREML_DATAREFERENCE_output"
    assert spec.work == Script("train.py", ("--in", "$AZUREML_DATAREFERENCE_input_data"))
    (one,) = spec.inputs
    assert (one.name, one.mode, one.place) == (
        "input_data",
        InputMode.MOUNT,
        "20newsgroups/20news.pkl",
    )


def estimator(**settings: Any) -> Estimator:
    return Estimator("src", **{"compute_target": "local", "entry_script": "t.py", **settings})


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"--a": 1, "--b": "x"}, ["--a", 1, "--b", "x"]),
        ({"--flag": ""}, ["--flag"]),
        ({"--flag": None, "--zero": 0, "--no": False}, ["--flag", "--zero", 0, "--no", False]),
        ({"--list": ["a", 2, (3, 4)]}, ["--list", "a", 2, "(3, 4)"]),
        ({"": "positional"}, ["positional"]),
        ({"--d": datastore1}, ["--d", "$AZUREML_DATAREFERENCE_datastore1"]),
    ],
)
def test_parameters_become_arguments(given: dict[str, Any], want: list[Any]) -> None:
    """Order stays, lists are flattened, None and "" go, 0 and False stay."""
    before = dict(given)

    assert estimator(script_params=given).run_config.arguments == want
    assert given == before


def test_a_reference_said_twice_is_one_and_two_of_one_name_are_refused() -> None:
    """The same place in inputs and parameters is one entry; two different ones name both."""
    same = estimator(script_params={"--d": datastore1}, inputs=[datastore1.as_mount()])

    assert list(same.run_config.data_references) == ["datastore1"]
    with pytest.raises(DefinitionRejected) as refused:
        estimator(inputs=[datastore1.as_download(), datastore1.as_upload("out")])
    assert '"datastore1" (download) and "datastore1" (upload)' in str(refused.value)
    configuration = RunConfiguration("t.py", [datastore1.as_download()])
    configuration.data_references["datastore1"] = datastore1.as_upload("x").to_config()
    with pytest.raises(DefinitionRejected, match="two references of this name"):
        configuration.with_references()


@pytest.mark.parametrize("inputs", ["images", datastore1, ["images"], [shop], [None], {"a": 1}])
def test_what_cannot_be_an_input_is_refused(inputs: Any) -> None:
    """Texts, databases and anything that is no list are refused with what to write instead."""
    with pytest.raises(DefinitionRejected, match='"inputs"'):
        estimator(inputs=inputs)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"compute_target": None}, "give a compute_target"),
        ({"node_count": 0}, "node_count 0"),
        ({"process_count_per_node": 0}, "process_count_per_node"),
        ({"process_count_per_node": 2}, "needs distributed_training"),
        ({"node_count": 2, "distributed_backend": "mpi"}, "need a cluster"),
        ({"distributed_backend": "gloo"}, 'use "mpi"'),
        ({"environment_definition": Environment(), "pip_packages": ["a"]}, "says it all"),
        ({"environment_definition": Environment(), "use_gpu": True}, "says it all"),
        ({"conda_dependencies_file": "c.yml", "pip_packages": ["a"]}, "not both"),
        ({"use_docker": False, "custom_docker_image": "i"}, "needs use_docker=True"),
        ({"user_managed": True, "pip_packages": ["a"]}, "give none"),
        ({"resume_from": "model"}, "give a DataPath"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], sentence: str) -> None:
    """Contradictions are refused when the estimator is made."""
    with pytest.raises(DefinitionRejected, match=re.escape(sentence)):
        estimator(**settings)


def test_overrides_count_for_one_submit() -> None:
    """What is given at submit wins by name, and the estimator stays as it was."""
    est = estimator(script_params={"--a": 1}, inputs=[datastore1.as_download()])

    changed = est.configured(
        script_params={"--b": 2},
        inputs=[datastore1.as_mount()],
        source_directory_data_store=datastore2,
    )

    assert changed.arguments == ["--a", 1, "--b", 2]
    assert changed.data_references == {
        "datastore1": DataReferenceConfiguration("datastore1", "mount")
    }
    assert changed.source_directory_data_store == "datastore2"
    assert est.run_config.arguments == ["--a", 1]
    assert est.run_config.data_references["datastore1"].mode == "download"
    with pytest.raises(DefinitionRejected, match='"tags" cannot be given'):
        est.configured(tags={})


def test_packages_come_from_lists_and_files(tmp_path: Path) -> None:
    """Packages are those of the lists and of the requirement files below the source folder."""
    (tmp_path / "r.txt").write_text("# tools\nnumpy==2 # fast\n\nscipy\n")
    (tmp_path / "c.yml").write_text("name: e\ndependencies:\n- python=3.11\n- pip:\n  - torch\n")

    listed = Estimator(
        tmp_path,
        compute_target="local",
        pip_packages=["pandas"],
        conda_packages=["git"],
        pip_requirements_file="r.txt",
    ).conda_dependencies
    read = Estimator(
        tmp_path, compute_target="local", conda_dependencies_file="c.yml"
    ).conda_dependencies

    assert listed is not None
    assert (listed.conda_packages, listed.pip_packages) == (
        ["git"],
        ["pandas", "numpy==2", "scipy"],
    )
    assert read is not None
    assert (read.conda_packages, read.pip_packages) == (["python=3.11"], ["torch"])


def test_resuming_mounts_the_model() -> None:
    """`resume_from` adds an argument and a mounted reference, here and in ScriptRunConfig."""
    path = DataPath(datastore1, "runs/1/model")

    for made in (
        estimator(resume_from=path).run_config,
        ScriptRunConfig("src", "t.py", resume_from=path).configured(),
    ):
        assert made.arguments == ["--resume-from", "$AZUREML_DATAREFERENCE_MODEL_LOCATION"]
        assert made.data_references == {
            "MODEL_LOCATION": DataReferenceConfiguration("datastore1", "mount", "runs/1/model")
        }


def test_script_run_config_leaves_the_given_configuration_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With run_config, script and arguments given here win, the rest is ignored with a warning."""
    given = RunConfiguration("old.py", ["old"])

    made = ScriptRunConfig(
        "src", "new.py", ["--d", datastore1], run_config=given, compute_target="gpu"
    )

    assert (given.script, given.arguments) == ("old.py", ["old"])
    assert (made.run_config.script, made.run_config.target) == ("new.py", "local")
    assert made.configured().arguments == ["--d", "$AZUREML_DATAREFERENCE_datastore1"]
    assert [one.levelname for one in caplog.records] == ["WARNING"]


def test_script_run_config_settings() -> None:
    """Distribution, duration and command land in the configuration; script and command exclude."""
    made = ScriptRunConfig(
        "src", "t.py", distributed_job_config=TensorflowConfiguration(2, 1)
    ).run_config

    assert (made.framework, made.communicator, made.node_count) == (
        "TensorFlow",
        "ParameterServer",
        2,
    )
    assert made.max_run_duration_seconds == 2592000
    mpi = ScriptRunConfig("src", "t.py", distributed_job_config=MpiConfiguration()).run_config
    assert (mpi.framework, mpi.communicator) == ("Python", "IntelMpi")
    assert ScriptRunConfig("src", command=["sh", "x"]).command == ["sh", "x"]
    with pytest.raises(DefinitionRejected, match="not both"):
        ScriptRunConfig("src", "t.py", command="x")
    with pytest.raises(DefinitionRejected, match="distributed_job_config"):
        ScriptRunConfig("src", "t.py", distributed_job_config="mpi")
