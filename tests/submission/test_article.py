"""The examples of "Access data in Azure storage services", with only the placeholders filled in.

Placeholders are accounts (with their addresses, since they are servers of ours), the names of
folders, and the compute target; imports come from this package.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from datastores import (
    DataReference,
    Datastore,
    Estimator,
    Experiment,
    PipelineData,
    PythonScriptStep,
    RunConfiguration,
    ScriptRunConfig,
    Workspace,
)
from datastores.history.status import Status
from datastores.submission import Pipeline
from tests.servers.azurite import Azurite
from tests.servers.files import FilesServer
from tests.submission.bench import Bench, register

compute_target = "local"


@pytest.fixture
def ws(bench: Bench) -> Workspace:
    return Workspace.from_config()


def test_register_a_container(
    ws: Workspace, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blob example gives a datastore that holds what is uploaded to it."""
    monkeypatch.setenv("BLOB_CONTAINER", azurite.container())
    monkeypatch.setenv("BLOB_ACCOUNTNAME", azurite.account)
    monkeypatch.setenv("BLOB_ACCOUNT_KEY", azurite.key.reveal())

    blob_datastore_name = "azblobsdk"
    container_name = os.getenv("BLOB_CONTAINER", "<my-container-name>")
    account_name = os.getenv("BLOB_ACCOUNTNAME", "<my-account-name>")
    account_key = os.getenv("BLOB_ACCOUNT_KEY", "<my-account-key>")
    blob_datastore = Datastore.register_azure_blob_container(
        workspace=ws,
        datastore_name=blob_datastore_name,
        container_name=container_name,
        account_name=account_name,
        account_key=account_key,
        endpoint=azurite.endpoint,
    )

    assert (blob_datastore.name, blob_datastore.datastore_type) == ("azblobsdk", "AzureBlob")
    assert ws.datastores["azblobsdk"] == blob_datastore


def test_register_a_file_share(
    ws: Workspace, files_server: FilesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file share example gives a datastore."""
    monkeypatch.setenv("FILE_SHARE_CONTAINER", files_server.share())
    monkeypatch.setenv("FILE_SHARE_ACCOUNTNAME", files_server.account)
    monkeypatch.setenv("FILE_SHARE_ACCOUNT_KEY", files_server.key.reveal())

    file_datastore_name = "azfilesharesdk"
    file_share_name = os.getenv("FILE_SHARE_CONTAINER", "<my-fileshare-name>")
    account_name = os.getenv("FILE_SHARE_ACCOUNTNAME", "<my-account-name>")
    account_key = os.getenv("FILE_SHARE_ACCOUNT_KEY", "<my-account-key>")
    file_datastore = Datastore.register_azure_file_share(
        workspace=ws,
        datastore_name=file_datastore_name,
        file_share_name=file_share_name,
        account_name=account_name,
        account_key=account_key,
        endpoint=files_server.endpoint,
    )

    assert (file_datastore.name, file_datastore.datastore_type) == ("azfilesharesdk", "AzureFile")


def test_register_a_database_in_both_ways(ws: Workspace) -> None:
    """The SQL examples, by login and by service principal; nobody can be asked about them here."""
    by_login = Datastore.register_azure_sql_database(
        workspace=ws,
        datastore_name="azsqlsdksql",
        server_name="server",
        database_name="database",
        username="user",
        password="a password of theirs",
        skip_validation=True,
    )
    by_principal = Datastore.register_azure_sql_database(
        workspace=ws,
        datastore_name="azsqlsdksp",
        server_name="server",
        database_name="database",
        client_id="client",
        client_secret="a secret of theirs",
        tenant_id="tenant",
        skip_validation=True,
    )

    assert [one.datastore_type for one in (by_login, by_principal)] == ["AzureSqlDatabase"] * 2


def test_get_datastores(ws: Workspace) -> None:
    """By name, all of them, and the default one, which can be changed."""
    datastore = Datastore.get(ws, datastore_name="images")
    datastores = ws.datastores
    types = {name: datastore.datastore_type for name, datastore in datastores.items()}
    default = ws.get_default_datastore()
    ws.set_default_datastore("images")

    assert datastore.name == "images"
    assert types["images"] == "AzureBlob"
    assert default.name == "workspaceblobstore"
    assert ws.get_default_datastore() == datastore


def test_upload_and_download(bench: Bench, tmp_path: Path) -> None:
    """What was uploaded comes back with its names."""
    datastore: Any = bench.images
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.txt").write_text("a")

    datastore.upload(
        src_dir=tmp_path / "here",
        target_path="your target path",
        overwrite=True,
        show_progress=True,
    )
    datastore.download(
        target_path=tmp_path / "there", prefix="your target path", show_progress=True
    )

    assert (tmp_path / "there" / "your target path" / "a.txt").read_text() == "a"


def test_mount_and_download_references(bench: Bench) -> None:
    """The two references of the section on training, and the variable they stand for."""
    datastore: Any = bench.images
    bench.store({"bar/x.txt": b"x", "other/y.txt": b"y"})
    bench.script(
        """
        import os, sys
        for path in sys.argv[1:]:
            print(sorted(os.listdir(path)))
        """
    )
    whole = datastore.as_mount()
    part = datastore.path("./bar").as_download()

    run = Experiment(bench.workspace, "article").submit(
        ScriptRunConfig(bench.source, "train.py", [whole, part])
    )
    record = bench.finished(run.id)

    assert str(whole) == "$AZUREML_DATAREFERENCE_images"
    assert (record.status, bench.output(run.id)) == (
        Status.COMPLETED,
        "['bar', 'other']\n['x.txt']\n",
    )


def test_an_estimator_with_a_mount_in_its_parameters(bench: Bench) -> None:
    """`script_params` with a path that has a slash in front."""
    datastore: Any = bench.images
    bench.store({"bar/x.txt": b"x"})
    bench.script("import os, sys; print(sys.argv[1], os.listdir(sys.argv[2]))")

    script_params = {"--data_dir": datastore.path("/bar").as_mount()}
    est = Estimator(
        source_directory=str(bench.source),
        entry_script="train.py",
        script_params=script_params,
        compute_target=compute_target,
    )
    run = Experiment(bench.workspace, "article").submit(est)

    assert bench.finished(run.id).status is Status.COMPLETED
    assert bench.output(run.id) == "--data_dir ['x.txt']\n"


def test_an_estimator_with_inputs_from_three_stores(bench: Bench, azurite: Azurite) -> None:
    """The first is downloaded whole, a folder of the second, and the third gets the file."""
    datastore1, datastore2, datastore3 = (
        register(bench.workspace, azurite, f"datastore{number}") for number in (1, 2, 3)
    )
    for datastore, files in (
        (datastore1, {"all/a.txt": b"a"}),
        (datastore2, {"foo/b.txt": b"b", "food/c.txt": b"c"}),
    ):
        with datastore.opened() as store:
            for key, data in files.items():
                store.write(key, data)
    bench.script(
        """
        import pathlib
        found = sorted(str(p) for p in pathlib.Path(".").rglob("*.txt"))
        pathlib.Path("bar.pkl").write_text(" ".join(found))
        """
    )

    est = Estimator(
        source_directory=str(bench.source),
        compute_target=compute_target,
        entry_script="train.py",
        inputs=[
            datastore1.as_download(),
            datastore2.path("./foo").as_download(),
            datastore3.as_upload(path_on_compute="./bar.pkl"),
        ],
    )
    run = Experiment(bench.workspace, "article").submit(est)

    assert bench.finished(run.id).status is Status.COMPLETED
    assert bench.stored("", datastore3) == {"bar.pkl": b"datastore1/all/a.txt datastore2/foo/b.txt"}


def test_a_pipeline_with_a_reference_and_pipeline_data(bench: Bench, azurite: Azurite) -> None:
    """The reference names one file of the default store, the output lies in that store."""
    def_blob_store = Datastore(bench.workspace, "workspaceblobstore")
    with def_blob_store.opened() as store:
        store.write("20newsgroups/20news.pkl", b"news")
    bench.script(
        "import shutil, sys, os; os.makedirs(sys.argv[2], exist_ok=True); "
        "shutil.copy(sys.argv[1], sys.argv[2])"
    )

    input_data = DataReference(
        datastore=def_blob_store,
        data_reference_name="input_data",
        path_on_datastore="20newsgroups/20news.pkl",
    )
    output = PipelineData("output", datastore=def_blob_store)
    step = PythonScriptStep(
        "train.py",
        arguments=[input_data, output],
        inputs=[input_data],
        outputs=[output],
        compute_target=compute_target,
        source_directory=str(bench.source),
    )
    run = Experiment(bench.workspace, "article").submit(Pipeline(bench.workspace, steps=[step]))
    record = bench.finished(run.id)

    assert (record.status, record.error) == (Status.COMPLETED, None)
    assert bench.stored(f"azureml/{run.id}/train.py/output", def_blob_store) == {
        "20news.pkl": b"news"
    }


def test_the_source_code_through_the_blob_store(bench: Bench) -> None:
    """`run_config.source_directory_data_store` with the default blob storage."""
    bench.script("print('from the store')")
    run_config = RunConfiguration()
    run_config.source_directory_data_store = "workspaceblobstore"

    run = Experiment(bench.workspace, "article").submit(
        ScriptRunConfig(bench.source, "train.py", run_config=run_config)
    )

    assert bench.finished(run.id).status is Status.COMPLETED
    assert bench.output(run.id) == "from the store\n"
