"""A workspace is made in one place, found from many, and forgets what it is told to forget."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from datastores import Datastore, Workspace
from datastores.catalog.home import REGISTRY_FILE
from datastores.errors import (
    AlreadyRegistered,
    ConfigRejected,
    NameRejected,
    NotRegistered,
    RegistryUnreachable,
)
from datastores.secret import Secret
from tests.servers.azurite import Azurite
from tests.servers.postgres import PostgresServer


def test_a_new_workspace_is_one_folder_with_two_stores(workspace: Workspace, home: Path) -> None:
    """An embedded workspace has its default stores, and everything of it is in one folder."""
    folder = home / "workspaces" / "demo"

    stores = {name: store.datastore_type for name, store in workspace.datastores.items()}

    assert stores == {"workspaceblobstore": "Local", "workspacefilestore": "Local"}
    assert workspace.get_default_datastore().name == "workspaceblobstore"
    assert {child.name for child in folder.iterdir()} >= {REGISTRY_FILE, "blobstore", "filestore"}


def test_from_config_finds_it_from_any_folder_below(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder in which it was made belongs to it, with all folders below."""
    deep = Path("a/b/c")
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)

    assert Workspace.from_config() == workspace


def test_a_second_workspace_leaves_the_folder_to_the_first(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder keeps belonging to the first workspace, and the output says so."""
    other = Workspace.create("other")
    other.close()

    assert Workspace.from_config() == workspace
    assert "was left alone" in capsys.readouterr().out


def test_get_and_list_know_all_of_this_user(workspace: Workspace) -> None:
    """Workspaces are found by name from anywhere, whatever the case of the name."""
    Workspace.create("second", show_output=False, subscription_id="S", resource_group="R").close()

    assert Workspace.get("DEMO") == workspace
    assert {name: len(found) for name, found in Workspace.list().items()} == {
        "demo": 1,
        "second": 1,
    }
    assert list(Workspace.list(subscription_id="S", resource_group="R")) == ["second"]
    assert Workspace.get("second", subscription_id="s").resource_group == "R"


def test_an_unknown_workspace_lists_the_known_ones(workspace: Workspace) -> None:
    """A wrong name or a wrong subscription is a sentence with the right ones."""
    with pytest.raises(NotRegistered, match='registered: "demo"'):
        Workspace.get("nobody")
    with pytest.raises(NotRegistered, match="local/demo"):
        Workspace.get("demo", subscription_id="other")
    assert workspace.name == "demo"


def test_a_configuration_that_outlived_its_workspace_is_named(workspace: Workspace) -> None:
    """A file that names a deleted workspace is an error with the file's path."""
    workspace.delete()

    with pytest.raises(ConfigRejected, match=r"config\.json.*create it, or correct the file"):
        Workspace.from_config()


@pytest.mark.parametrize("name", ["ab", "with space", "a" * 256, "../x"])
def test_a_wrong_name_is_refused_before_anything_is_made(home: Path, name: str) -> None:
    """A name that breaks the rule leaves no folder behind."""
    with pytest.raises(NameRejected):
        Workspace.create(name)

    assert not home.exists()


def test_creating_twice_is_an_error_unless_allowed(workspace: Workspace) -> None:
    """A second creation is refused, and `exist_ok` returns the present one."""
    with pytest.raises(AlreadyRegistered, match="exist_ok=True"):
        Workspace.create("demo", show_output=False)
    assert Workspace.create("demo", exist_ok=True, show_output=False) == workspace


def test_a_folder_holds_one_workspace(home: Path, tmp_path: Path) -> None:
    """Two embedded workspaces never share a folder, since they would share their data."""
    first = Workspace.create("first", folder=tmp_path / "here", show_output=False)

    with pytest.raises(AlreadyRegistered, match="choose another name and folder"):
        Workspace.create("second", folder=tmp_path / "here", show_output=False)
    assert Workspace.from_config() == first
    first.close()
    assert not home.exists()


def test_the_default_can_be_changed(workspace: Workspace) -> None:
    """The default is what was chosen last, and must exist."""
    workspace.set_default_datastore("WorkspaceFileStore")

    assert Datastore.get_default(workspace).name == "workspacefilestore"
    assert Datastore(workspace).name == "workspacefilestore"
    with pytest.raises(NotRegistered, match="workspacefilestore"):
        workspace.set_default_datastore("nobody")


def test_details_tell_everything_but_secrets(workspace: Workspace) -> None:
    """Details carry Azure ML's keys, and where the records are."""
    details = workspace.get_details()

    assert details["id"] == (
        "/subscriptions/local/resourceGroups/local"
        "/providers/Microsoft.MachineLearningServices/workspaces/demo"
    )
    assert (details["name"], details["defaultDatastore"]) == ("demo", "workspaceblobstore")
    assert details["registry"].endswith(f"workspaces/demo/{REGISTRY_FILE}")


def test_deleting_keeps_the_data_unless_asked(workspace: Workspace, home: Path) -> None:
    """Deleting forgets records and key; files stay until their deletion is asked for."""
    folder = home / "workspaces" / "demo"
    Path("model.bin").write_bytes(b"weights")
    workspace.get_default_datastore().upload_files(["model.bin"], show_progress=False)  # type: ignore[attr-defined]

    workspace.delete()

    assert (folder / "blobstore" / "model.bin").read_bytes() == b"weights"
    assert not (folder / REGISTRY_FILE).exists()
    assert Workspace.list() == {}


def test_deleting_with_the_data_removes_only_its_own_folders(home: Path, tmp_path: Path) -> None:
    """A workspace in a project's folder takes nothing of the project with it."""
    here = tmp_path / "project2"
    here.mkdir()
    (here / "train.py").write_text("print()")
    (here / "registry.db.backup").write_text("mine")
    made = Workspace.create("mine", folder=here, show_output=False)

    made.delete(delete_dependent_resources=True)

    assert sorted(child.name for child in here.iterdir()) == ["registry.db.backup", "train.py"]
    assert not home.exists()


def test_a_workspace_travels_to_another_process(workspace: Workspace) -> None:
    """A pickled workspace or datastore opens again elsewhere, and holds no secret on the way."""
    store = workspace.get_default_datastore()

    back, store_back = pickle.loads(pickle.dumps((workspace, store)))

    assert (back, store_back) == (workspace, store)
    assert store_back.name == "workspaceblobstore"
    back.close()


def test_a_registry_in_postgresql_serves_many_machines(
    home: Path, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workspace in a database is found from another user's empty home, without the password
    being written down anywhere.
    """
    url = postgres.url(postgres.database(), password=True)
    made = Workspace.create("shared", registry=url, show_output=False, vault_key="env:SHARED_KEY")
    config = Path(".azureml/config.json").read_text()
    monkeypatch.setenv("DATASTORES_HOME", str(tmp_path / "another home"))
    monkeypatch.setenv("PGPASSWORD", postgres.password.reveal())

    found = Workspace.from_config()

    assert sorted(found.datastores) == ["workspaceblobstore", "workspacefilestore"]
    assert list(Workspace.list(registry=url)) == ["shared"]
    shown = config + repr(made) + str(made.get_details()) + made.registry_place
    assert postgres.password.reveal() not in shown
    made.close()
    found.close()


def test_an_unreachable_registry_is_named_within_a_bound(home: Path) -> None:
    """A database that does not answer is one sentence with host and port."""
    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1.*1\b"):
        Workspace.get("shared", registry="postgresql://user@127.0.0.1:1/db")
    assert not home.exists()


def test_a_storage_account_gives_a_container(
    home: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unreachable file service or not, nothing is half made: the workspace exists with both
    stores or not at all.
    """
    monkeypatch.setenv("STORAGE_KEY", azurite.key.reveal())

    with pytest.raises(Exception, match="workspacefilestore"):
        # The emulator has blobs and no file shares, so the second store cannot be made.
        Workspace.create(
            "cloud",
            storage_account=azurite.account,
            storage_endpoint=azurite.endpoint,
            storage_key=Secret(azurite.key.reveal()),
            show_output=False,
        )
    assert Workspace.list() == {}
    assert not (home / "workspaces" / "cloud" / REGISTRY_FILE).exists()


def test_eight_processes_create_one_workspace(home: Path) -> None:
    """Of eight processes that create one workspace at once, all end with it whole."""
    code = (
        "from datastores import Workspace; "
        "w = Workspace.create('race', exist_ok=True, show_output=False); "
        "print(sorted(w.datastores), w.default_datastore_name)"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    said = [run.communicate(timeout=90)[0].strip() for run in runs]

    assert set(said) == {"['workspaceblobstore', 'workspacefilestore'] workspaceblobstore"}
    assert home.exists()
