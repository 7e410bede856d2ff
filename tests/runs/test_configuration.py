"""Run configurations: Azure ML's fields, defaults and files, with mistakes told by their place."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datastores.errors import ConfigRejected, DefinitionRejected
from datastores.references import DataReferenceConfiguration, SqlDataReference
from datastores.runs import CondaDependencies, RunConfiguration
from datastores.runs.data import (
    Data,
    DataLocation,
    DataPath,
    Dataset,
    GlobsOptions,
    OutputData,
    OutputOptions,
    UploadOptions,
)
from datastores.runs.settings import MpiConfiguration, PyTorchConfiguration
from datastores.runs.yaml_text import dump_yaml, load_yaml
from datastores.secret import MASK, Secret
from tests.runs.stores import datastore1, shop

ORIGINAL = Path(__file__).parent / "azureml.runconfig"


def documented() -> RunConfiguration:
    """What Azure ML's file holds, made in code."""
    made = RunConfiguration("train.py", ["--data_dir", "$AZUREML_DATAREFERENCE_bar"])
    made.data_references["bar"] = DataReferenceConfiguration("myblob", "mount", "bar")
    made.data_references["dl"] = DataReferenceConfiguration("myblob", "download", "./foo", "d/foo")
    made.source_directory_data_store = "workspaceblobstore"
    made.environment_variables["A"] = "1"
    return made


def test_a_file_of_the_original_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """Loading and saving what Azure ML saved changes nothing."""
    saved = RunConfiguration.load(ORIGINAL).save(tmp_path / "copy.runconfig")

    assert saved.read_bytes() == ORIGINAL.read_bytes()


def test_defaults_are_those_of_the_original(tmp_path: Path) -> None:
    """The same object made in code saves as Azure ML's file, so every default is equal."""
    assert documented().save(tmp_path, "bare").read_bytes() == ORIGINAL.read_bytes()


def test_saving_twice_works_and_makes_the_folder(tmp_path: Path) -> None:
    """Where the original fails: no folder yet, and a second save with references."""
    made = documented()
    made.environment.python.conda_dependencies = CondaDependencies.create(["a"], ["b"], "3.11")

    first = made.save(tmp_path / "new", "train")
    second = made.save(tmp_path / "new", "train")

    assert first == second == tmp_path / "new" / ".azureml" / "train"
    assert RunConfiguration.load(tmp_path / "new", "train") == made
    assert (first.parent / "conda_dependencies.yml").read_text() == (
        "name: project_environment\ndependencies:\n- python=3.11\n- b\n- pip:\n  - a\n"
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (".azureml/train", "train"),
        ("aml_config/train", "train"),
        (".azureml/train.runconfig", "train"),
        ("aml_config/train.runconfig", "train"),
        ("train.runconfig", "train"),
    ],
)
def test_a_configuration_is_found_by_name(tmp_path: Path, file: str, name: str) -> None:
    """`.azureml`, `aml_config` and the folder itself are searched, with and without ending."""
    place = tmp_path / file
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(ORIGINAL.read_bytes())

    assert RunConfiguration.load(tmp_path, name) == RunConfiguration.load(ORIGINAL)


def test_an_existing_aml_config_is_used(tmp_path: Path) -> None:
    """A project that still has the old folder keeps it."""
    (tmp_path / "aml_config").mkdir()

    assert documented().save(tmp_path, "train") == tmp_path / "aml_config" / "train"


def test_a_name_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    """The error names the configurations of the folder."""
    documented().save(tmp_path, "one.runconfig")

    with pytest.raises(ConfigRejected, match=r'there is "\.azureml/one\.runconfig"'):
        RunConfiguration.load(tmp_path, "two")
    with pytest.raises(ConfigRejected, match="give the configuration a name"):
        documented().save(tmp_path)


def test_a_loaded_configuration_goes_back_to_its_file(tmp_path: Path) -> None:
    """`save()` without a path writes the file that was loaded."""
    file = documented().save(tmp_path, "train")
    loaded = RunConfiguration.load(file)
    loaded.target = "gpu"

    assert loaded.save() == file
    assert RunConfiguration.load(file).target == "gpu"


def test_json_and_a_separate_environment(tmp_path: Path) -> None:
    """A name that ends in .json is JSON, and the environment can be a file of its own."""
    made = documented()
    made.environment.name = "mine"

    assert json.loads(made.save(tmp_path, "c.json").read_text())["environment"]["name"] == "mine"
    assert RunConfiguration.load(tmp_path, "c.json") == made
    made.save(tmp_path, "apart", separate_environment_yaml=True)
    assert RunConfiguration.load(tmp_path, "apart") == made
    assert "environment: .azureml/environment.yml\n" in (tmp_path / ".azureml/apart").read_text()


def test_snake_case_is_read_and_unknown_keys_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys may be in snake case; a key from another version is kept, with one warning."""
    file = tmp_path / "x.runconfig"
    file.write_text("node_count: 1\nmax_run_duration_seconds: 60\nhistory:\n  gpuSupport: true\n")

    with caplog.at_level(logging.WARNING):
        loaded = RunConfiguration.load(file)

    assert loaded.max_run_duration_seconds == 60
    assert [one.getMessage() for one in caplog.records] == [
        f'configuration "{file}": "history.gpuSupport" is unknown here and kept as it is'
    ]
    assert "  gpuSupport: true\n" in loaded.save(tmp_path / "y.runconfig").read_text()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("script: a\n  b: c\n", "line 2, column 4"),
        ("script: [a\ntarget: b\n", "line 2, column 7"),
        ("\tscript: a\n", "line 1, column 1"),
        ("script: a\nscript: b\n", 'line 2, column 1: the key "script" is there twice'),
        ("script: !!python/name:os.system\n", "line 1, column 9"),
        ('{"script": }', "line 1, column 12"),
        ("- a\n", "the whole file is a list and must be a mapping"),
        ("nodeCount: three\n", '"nodeCount" is "three" and must be an integer'),
        ("history: logs\n", '"history" is "logs" and must be a mapping'),
        ("arguments: x\n", '"arguments" is "x" and must be a list'),
        ("environment:\n  docker:\n    enabled: 1\n", '"environment.docker.enabled" is "1"'),
        ("dataReferences:\n  d:\n    mode: mount\n", '"dataReferences.d" names no datastore'),
        (
            "dataReferences:\n  d:\n    dataStoreName: s\n    mode: copy\n",
            '"dataReferences.d.mode" is "copy"; use "mount", "download" or "upload"',
        ),
    ],
)
def test_malformed_files_are_refused_by_place(tmp_path: Path, text: str, sentence: str) -> None:
    """A mistake is told with line and column, or with its path in the file; the code is 3."""
    file = tmp_path / "x.runconfig"
    file.write_text(text)

    with pytest.raises(ConfigRejected) as refused:
        RunConfiguration.load(file)

    assert sentence in str(refused.value)
    assert str(file) in str(refused.value)
    assert refused.value.exit_code == 3


def test_yaml_is_read_as_1_2() -> None:
    """Words that YAML 1.1 took for truth values, times and octal numbers are what they look like."""
    text = "a: on\nb: 1:30\nc: 010\nd: 2020-01-01\ne: true\nf: 1e3\ng: 0o17\nh:\n"

    assert load_yaml(text, "f") == {
        "a": "on", "b": "1:30", "c": 10, "d": "2020-01-01", "e": True, "f": 1000.0, "g": 15,
        "h": None,
    }  # fmt: skip


plain = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"))
plain |= st.sampled_from(
    ["on", "1:30", "010", "0o17", "1e3", "~", "", "null", "<<", "=", "- a", "1_0"]
)


@given(st.dictionaries(st.text("abc", min_size=1), plain | st.lists(plain) | st.floats(-1e9, 1e9)))
def test_yaml_round_trips(values: dict[str, Any]) -> None:
    """Whatever is written is read back equal, also texts that look like something else."""
    assert load_yaml(dump_yaml(values), "f") == values


names = st.text("abcdefgh_-", min_size=3, max_size=6)
references = st.builds(
    DataReferenceConfiguration,
    names,
    st.sampled_from(["mount", "download", "upload"]),
    st.none() | names,
    st.none() | names,
    st.booleans(),
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


# Half a second for each example would go into PyYAML; a few reach every branch.
@settings(max_examples=20, deadline=None)
@given(
    st.lists(texts | st.integers() | st.booleans()),
    st.dictionaries(names, references, max_size=3),
    st.dictionaries(names, texts, max_size=3),
    st.booleans(),
)
def test_configurations_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    arguments: list[Any],
    entries: dict[str, Any],
    variables: dict[str, str],
    is_json: bool,
) -> None:
    """Any configuration that is saved loads as an equal one, as YAML and as JSON."""
    made = RunConfiguration("s.py", arguments)
    made.data_references = entries
    made.environment_variables = variables
    made.data["in"] = Data(
        DataLocation(Dataset("1", "n", "2"), DataPath("store", "p")), mechanism="Mount"
    )
    made.output_data["out"] = OutputData(
        DataLocation(data_path=DataPath("store", "q")),
        "upload",
        OutputOptions("x", upload_options=UploadOptions(True, GlobsOptions(["*.pt"]))),
    )
    made.paralleltask.terminal_exit_codes = [1, 2]
    folder = tmp_path_factory.mktemp("c")

    made.save(folder, "c.json" if is_json else "c")

    assert RunConfiguration.load(folder, "c.json" if is_json else "c") == made


def test_rows_have_a_stored_form(tmp_path: Path) -> None:
    """A query among the arguments is saved with its text and comes back."""
    made = RunConfiguration(
        "s.py", ["--rows", SqlDataReference(shop, "rows", sql_query="select 1")]
    )

    loaded = RunConfiguration.load(made.save(tmp_path, "rows"))

    assert loaded.arguments == ["--rows", "$AZUREML_DATAREFERENCE_rows"]
    assert loaded.data_references == made.with_references().data_references


@pytest.mark.parametrize(
    "section",
    [RunConfiguration(), RunConfiguration().history, RunConfiguration().environment, Data()],
)
def test_unknown_attributes_are_refused(section: Any) -> None:
    """A misspelt setting is an error where it is written."""
    with pytest.raises(AttributeError):
        section.nodecount = 2


def test_repr_is_json_with_the_packages_and_without_the_password() -> None:
    """The repr has the keys of the file and the conda packages; a password is masked."""
    made = documented()
    made.environment.docker.base_image_registry.password = Secret("canary-77aa")
    made.arguments = ["--d", datastore1.path("x", "x")]

    shown = json.loads(repr(made))

    assert list(shown)[:4] == ["script", "arguments", "target", "framework"]
    assert shown["arguments"] == ["--d", "$AZUREML_DATAREFERENCE_x"]
    assert shown["environment"]["python"]["condaDependencies"]["dependencies"] == []
    assert shown["environment"]["docker"]["baseImageRegistry"]["password"] == MASK
    assert "canary-77aa" not in repr(made)


def test_objects_are_kept_by_name() -> None:
    """`target` and `source_directory_data_store` take an object and keep its name."""
    made = RunConfiguration()
    made.target = datastore1
    made.source_directory_data_store = datastore1

    assert (made.target, made.source_directory_data_store) == ("datastore1", "datastore1")


def test_backends_of_pytorch() -> None:
    """The backend is stored in lower case, and only two are known."""
    assert PyTorchConfiguration("Gloo").communication_backend == "gloo"
    with pytest.raises(DefinitionRejected, match='use "nccl" or "gloo"'):
        PyTorchConfiguration("mpi")
    assert MpiConfiguration() == MpiConfiguration(1, 1)
