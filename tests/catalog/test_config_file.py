"""Which configuration is found, and what is said about one that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datastores.catalog import config_file
from datastores.catalog.config_file import WorkspaceConfig
from datastores.errors import ConfigRejected

PLAIN = {"subscription_id": "s", "resource_group": "r", "workspace_name": "w"}
SCOPE = {
    "Id": None,
    "Scope": "/subscriptions/s/resourceGroups/r"
    "/providers/Microsoft.MachineLearningServices/workspaces/w",
}


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_parents_hidden_file_beats_a_plain_one_here(tmp_path: Path) -> None:
    """The subfolder decides before the distance, and the file name between the two."""
    here = tmp_path / "a" / "b"
    plain = put(here / "config.json", PLAIN)
    aml_project = put(here / "aml_config" / "project.json", PLAIN)
    aml_config = put(tmp_path / "aml_config" / "config.json", PLAIN)
    hidden = put(tmp_path / ".azureml" / "config.json", PLAIN)
    order = []
    for path in (hidden, aml_config, aml_project, plain):
        order.append(config_file.find(here))
        path.unlink()

    assert order == [hidden, aml_config, aml_project, plain]


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    """A path to a file needs no search, and a file name narrows the search."""
    other = put(tmp_path / "other.json", PLAIN)
    put(tmp_path / ".azureml" / "config.json", PLAIN)

    assert config_file.find(other) == other
    assert config_file.find(tmp_path, "other.json") == other


@pytest.mark.parametrize("form", [PLAIN, SCOPE, {**PLAIN, "workspace_name": "x", **SCOPE}])
def test_both_forms_name_the_workspace(tmp_path: Path, form: dict[str, str]) -> None:
    """Three keys or a Scope mean the same; a Scope wins."""
    assert config_file.load(put(tmp_path / "c.json", form)) == WorkspaceConfig("w", "s", "r")


def test_saved_files_are_found_and_loaded(tmp_path: Path) -> None:
    """What is saved comes back, in the form and the place of Azure ML."""
    config = WorkspaceConfig("w", "s", "r", "postgresql://user@host/db")

    path = config_file.save(config, tmp_path)

    assert path == tmp_path / ".azureml" / "config.json"
    assert json.loads(path.read_text())["Scope"] == SCOPE["Scope"]
    assert config_file.load(config_file.find(tmp_path)) == config


def test_an_older_folder_is_kept(tmp_path: Path) -> None:
    """Where `aml_config` exists, the file goes there."""
    (tmp_path / "aml_config").mkdir()

    path = config_file.save(WorkspaceConfig("w", "s", "r"), tmp_path)

    assert path == tmp_path / "aml_config" / "config.json"


def test_a_relative_registry_is_meant_from_the_file(tmp_path: Path) -> None:
    """A registry beside the file is found from anywhere."""
    path = put(tmp_path / ".azureml" / "config.json", {**PLAIN, "registry": "../ws/registry.db"})

    assert config_file.load(path).registry == str(tmp_path / "ws" / "registry.db")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "line 1, column 2"),
        ("[]", "not a JSON object"),
        ({"subscription_id": "s", "resource_group": "r"}, '"workspace_name" is missing'),
        ({"Scope": "/subscriptions/s"}, '"Scope" does not name a workspace'),
    ],
)
def test_a_corrupt_file_is_named_with_its_fault(
    tmp_path: Path, content: object, complaint: str
) -> None:
    """The sentence says which file, what is wrong, and where."""
    path = put(tmp_path / "config.json", content)

    with pytest.raises(ConfigRejected) as refused:
        config_file.load(path)

    assert str(path) in str(refused.value)
    assert complaint in str(refused.value)


def test_no_file_anywhere_suggests_creating(tmp_path: Path) -> None:
    """Without a configuration the sentence says how to get one."""
    with pytest.raises(ConfigRejected, match="datastores ws create NAME"):
        config_file.find(tmp_path, "nobody-has-this-file.json")
