"""Datastores through fsspec: by object, by short and long address, in the libraries people use."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from datastores import Datastore, Workspace
from datastores.errors import DefinitionRejected, NotRegistered
from tests.servers.azurite import Azurite
from tests.servers.files import FilesServer

FRAME = pd.DataFrame({"n": range(100), "text": [f"row {n}" for n in range(100)]})
Maker = Callable[[], Any]


@pytest.fixture(params=["local", "blob", "share", "url"])
def datastore(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    azurite: Azurite,
    files_server: FilesServer,
) -> Any:
    """One datastore of each way to an fsspec file system, all called "data"."""
    makers: dict[str, Maker] = {
        "local": lambda: Datastore.register_local(
            workspace, "data", Path("folder"), create_if_not_exists=True
        ),
        "blob": lambda: Datastore.register_azure_blob_container(
            workspace,
            "data",
            azurite.container(),
            azurite.account,
            account_key=azurite.key.reveal(),
            endpoint=azurite.endpoint,
        ),
        "share": lambda: Datastore.register_azure_file_share(
            workspace,
            "data",
            files_server.share(),
            files_server.account,
            account_key=files_server.key.reveal(),
            endpoint=files_server.endpoint,
        ),
        "url": lambda: Datastore.register_fsspec(
            workspace, "data", f"file://{Path('url').absolute()}", create_if_not_exists=True
        ),
    }
    return makers[request.param]()


def test_files_are_written_listed_read_and_removed(datastore: Any) -> None:
    """The file system's root is the datastore's root, and the usual verbs work on it."""
    fs = datastore.filesystem()
    with fs.open("a/b.txt", "wb") as file:
        file.write(b"hello")
    fs.pipe_file("a/c.bin", b"0123456789")

    assert sorted(name.strip("/") for name in fs.ls("a", detail=False)) == ["a/b.txt", "a/c.bin"]
    assert sorted(fs.find("")) == ["a/b.txt", "a/c.bin"]
    assert (fs.cat_file("a/c.bin", 2, 5), fs.size("a/b.txt")) == (b"234", 5)
    assert fs.isdir("a")
    assert not fs.exists("a/absent")
    with fs.open("a/b.txt", "r") as text:
        assert text.read() == "hello"
    fs.rm("a/b.txt")
    assert not fs.exists("a/b.txt")
    with pytest.raises(FileNotFoundError):
        fs.cat_file("a/b.txt")


def test_pandas_and_pyarrow_read_and_write_by_address(datastore: Any) -> None:
    """`datastore://name/path` works wherever pandas and pyarrow take a path."""
    assert datastore.name == "data"
    FRAME.to_parquet("datastore://data/t/x.parquet")
    FRAME.to_csv("datastore://data/t/x.csv", index=False)

    pd.testing.assert_frame_equal(pd.read_parquet("datastore://data/t/x.parquet"), FRAME)
    pd.testing.assert_frame_equal(pd.read_csv("datastore://data/t/x.csv"), FRAME)
    fs = fsspec.filesystem("datastore")
    assert pq.read_table("data/t/x.parquet", filesystem=fs).num_rows == 100
    assert ds.dataset("data/t/x.parquet", filesystem=fs).count_rows() == 100


def test_duckdb_reads_by_address(datastore: Any) -> None:
    """DuckDB queries a datastore once the file system is registered with it."""
    assert datastore.name == "data"
    FRAME.to_parquet("datastore://data/x.parquet")
    connection = duckdb.connect()
    connection.register_filesystem(fsspec.filesystem("datastore"))

    answer = connection.execute("select sum(n) from 'datastore://data/x.parquet'").fetchall()

    assert answer == [(4950,)]
    connection.close()


def test_partitions_and_globs_are_found(datastore: Any) -> None:
    """Folders of Parquet files are read as one table, and globs find what they describe."""
    assert datastore.name == "data"
    for part in range(3):
        FRAME.to_parquet(f"datastore://data/table/part={part}/x.parquet")
    fs = fsspec.filesystem("datastore")
    connection = duckdb.connect()
    connection.register_filesystem(fs)

    assert len(pd.read_parquet("datastore://data/table")) == 300
    assert ds.dataset("data/table", filesystem=fs, partitioning="hive").count_rows() == 300
    assert fs.glob("data/table/*/x.parquet") == [
        f"data/table/part={part}/x.parquet" for part in range(3)
    ]
    assert fs.find("data/table", maxdepth=1) == []
    query = "select count(*) from read_parquet('datastore://data/table/*/*.parquet')"
    assert connection.execute(query).fetchall() == [(300,)]
    connection.close()


def test_long_addresses_name_their_workspace(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An `azureml://` address with subscription, group and workspace works from any folder."""
    monkeypatch.chdir(tmp_path)
    address = (
        "azureml://subscriptions/local/resourcegroups/local/workspaces/demo"
        "/datastores/workspaceblobstore/paths/t/x.parquet"
    )

    FRAME.to_parquet(address)

    pd.testing.assert_frame_equal(pd.read_parquet(address), FRAME)
    assert workspace.name == "demo"


def test_short_azureml_addresses_use_the_folders_workspace(workspace: Workspace) -> None:
    """`azureml://datastores/...` means the workspace that the current folder belongs to."""
    fs, path = fsspec.core.url_to_fs("azureml://datastores/workspacefilestore/paths/a b/x.txt")
    fs.pipe_file(path, b"x")

    assert fs.cat_file("datastore://workspacefilestore/a b/x.txt") == b"x"
    assert {"workspaceblobstore", "workspacefilestore"} == set(fs.ls("", detail=False))
    assert workspace.name == "demo"


@pytest.mark.parametrize(
    "address", ["azureml://wrong/x", "azureml://datastores", "azureml://subscriptions/s/x"]
)
def test_a_malformed_address_shows_the_right_form(workspace: Workspace, address: str) -> None:
    """The sentence for a malformed address is the form it should have."""
    with pytest.raises(DefinitionRejected, match="azureml://datastores/NAME/paths/PATH"):
        fsspec.core.url_to_fs(address)
    assert workspace.name == "demo"


def test_an_unknown_datastore_lists_the_known_ones(workspace: Workspace) -> None:
    """A wrong name inside an address is the same sentence as everywhere."""
    with pytest.raises(NotRegistered, match="workspaceblobstore"):
        fsspec.filesystem("datastore").ls("nobody/x")
    assert workspace.name == "demo"


def test_copies_go_between_datastores(workspace: Workspace) -> None:
    """A copy from one datastore to another through one file system has the same bytes."""
    fs = fsspec.filesystem("datastore")
    fs.pipe_file("workspaceblobstore/a/x.bin", bytes(range(256)) * 100)

    fs.cp_file("workspaceblobstore/a/x.bin", "workspacefilestore/b/y.bin")

    assert fs.cat_file("workspacefilestore/b/y.bin") == bytes(range(256)) * 100
    assert workspace.name == "demo"


def test_a_pickled_file_system_holds_no_secret(datastore: Any) -> None:
    """A file system travels to workers as its datastore's name; no key is in the pickle."""
    fs = datastore.filesystem()
    fs.pipe_file("x", b"1")
    secret = datastore.credential()

    travelling = pickle.dumps(fs) + pickle.dumps(fsspec.filesystem("datastore"))

    key = getattr(secret, "key", None)
    assert key is None or key.reveal().encode() not in travelling
    assert pickle.loads(pickle.dumps(fs)).cat_file("x") == b"1"
    assert "x" in json.dumps(fs.ls("", detail=False))
