"""Registering: documented signatures, validation that names what is wrong, nothing half done."""

from __future__ import annotations

import inspect
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datastores import Datastore, Workspace
from datastores.catalog.file_datastores import AzureBlobDatastore
from datastores.credentials.kinds import ManagedIdentity
from datastores.definitions import BlobContainer
from datastores.errors import (
    AlreadyRegistered,
    CredentialExpired,
    CredentialRefused,
    DefinitionRejected,
    NameRejected,
    NotFound,
    NotRegistered,
    Unavailable,
    Unsupported,
)
from datastores.names import DatastoreName
from datastores.secret import MASK, Secret
from tests.servers.azurite import Azurite
from tests.servers.files import FilesServer
from tests.servers.postgres import PostgresServer

# Azure ML's documented signatures, defaults included; what we add is keyword-only.
SIGNATURES = {
    "register_azure_blob_container": "workspace, datastore_name, container_name, account_name, "
    "sas_token=None, account_key=None, protocol=None, endpoint=None, overwrite=False, "
    "create_if_not_exists=False, skip_validation=False, blob_cache_timeout=None, "
    "grant_workspace_access=False, subscription_id=None, resource_group=None",
    "register_azure_file_share": "workspace, datastore_name, file_share_name, account_name, "
    "sas_token=None, account_key=None, protocol=None, endpoint=None, overwrite=False, "
    "create_if_not_exists=False, skip_validation=False",
    "register_azure_data_lake": "workspace, datastore_name, store_name, tenant_id=None, "
    "client_id=None, client_secret=None, resource_url=None, authority_url=None, "
    "subscription_id=None, resource_group=None, overwrite=False, grant_workspace_access=False",
    "register_azure_data_lake_gen2": "workspace, datastore_name, filesystem, account_name, "
    "tenant_id=None, client_id=None, client_secret=None, resource_url=None, authority_url=None, "
    "protocol=None, endpoint=None, overwrite=False, subscription_id=None, resource_group=None, "
    "grant_workspace_access=False",
    "register_azure_sql_database": "workspace, datastore_name, server_name, database_name, "
    "tenant_id=None, client_id=None, client_secret=None, resource_url=None, authority_url=None, "
    "endpoint=None, overwrite=False, username=None, password=None, subscription_id=None, "
    "resource_group=None, grant_workspace_access=False",
    "register_azure_postgre_sql": "workspace, datastore_name, server_name, database_name, user_id, "
    "user_password, port_number=None, endpoint=None, overwrite=False, enforce_ssl=True",
    "register_azure_my_sql": "workspace, datastore_name, server_name, database_name, user_id, "
    "user_password, port_number=None, endpoint=None, overwrite=False",
    "register_dbfs": "workspace, datastore_name",
    "register_hdfs": "workspace, datastore_name, protocol, namenode_address, "
    "hdfs_server_certificate, kerberos_realm, kerberos_kdc_address, kerberos_principal, "
    "kerberos_keytab=None, kerberos_password=None, overwrite=False",
}


def names_of(workspace: Workspace) -> list[str]:
    return workspace.datastore_names()


@pytest.mark.parametrize("method", SIGNATURES)
def test_signatures_are_the_documented_ones(method: str) -> None:
    """Scripts written for Azure ML call ours unchanged, by position or by name."""
    parameters = inspect.signature(getattr(Datastore, method)).parameters.values()
    shown = ", ".join(
        one.name if one.default is inspect.Parameter.empty else f"{one.name}={one.default}"
        for one in parameters
        if one.kind is not inspect.Parameter.KEYWORD_ONLY
    )

    assert shown == SIGNATURES[method]


def test_a_container_is_registered_by_key_and_used(
    workspace: Workspace, azurite: Azurite, tmp_path: Path
) -> None:
    """The article's example: register with a key, get it back by name, upload and download."""
    container = azurite.container()
    made = Datastore.register_azure_blob_container(
        workspace=workspace,
        datastore_name="azblobsdk",
        container_name=container,
        account_name=azurite.account,
        account_key=azurite.key.reveal(),
        endpoint=azurite.endpoint,
    )

    found = Datastore.get(workspace, datastore_name="azblobsdk")

    assert isinstance(found, AzureBlobDatastore)
    assert found == made
    assert json.loads(str(found)) == {
        "name": "azblobsdk",
        "container_name": container,
        "account_name": azurite.account,
        "protocol": None,
        "endpoint": azurite.endpoint,
    }
    assert next(iter(json.loads(str(found)))) == "name"
    assert (found.datastore_type, found.credential_type) == ("AzureBlob", "AccountKey")
    assert str(found.account_key) == MASK
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a.txt").write_text("hello")
    reference = found.upload(str(source), target_path="./train", show_progress=False)
    assert (reference.mode, reference.path_on_datastore) == ("mount", "./train")
    assert found.download(str(tmp_path / "out"), prefix="train", show_progress=False) == 1
    assert (tmp_path / "out" / "train" / "sub" / "a.txt").read_text() == "hello"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train"]


def test_a_share_is_made_when_asked(workspace: Workspace, files_server: FilesServer) -> None:
    """`create_if_not_exists` makes the share; without it a missing share is refused by name."""
    given = {
        "workspace": workspace,
        "datastore_name": "azfilesharesdk",
        "file_share_name": "not-there-yet",
        "account_name": files_server.account,
        "account_key": files_server.key,
        "endpoint": files_server.endpoint,
    }

    with pytest.raises(NotFound, match="create_if_not_exists"):
        Datastore.register_azure_file_share(**given)
    assert "azfilesharesdk" not in names_of(workspace)
    made = Datastore.register_azure_file_share(**given, create_if_not_exists=True)

    assert made.datastore_type == "AzureFile"


def test_a_database_is_reached_and_read(
    workspace: Workspace, postgres: PostgresServer, tmp_path: Path
) -> None:
    """A PostgreSQL datastore gives rows as batches, and as Parquet files in a folder."""
    import pyarrow.parquet as pq

    made = Datastore.register_azure_postgre_sql(
        workspace,
        "rows",
        postgres.host,
        postgres.database(),
        postgres.user,
        postgres.password.reveal(),
        port_number=postgres.port,
    )

    query = "select n, n * 1.5 as half from generate_series(1, 1000) n"
    paths = made.download(tmp_path / "rows", query, show_progress=False)  # type: ignore[attr-defined]

    assert sum(pq.read_metadata(path).num_rows for path in paths) == 1000
    assert sum(batch.num_rows for batch in made.read_batches(query)) == 1000  # type: ignore[attr-defined]


def test_the_name_is_taken_unless_overwriting(workspace: Workspace, tmp_path: Path) -> None:
    """A second registration is refused before the store is asked; overwriting replaces it."""
    Datastore.register_local(workspace, "here", tmp_path)

    with pytest.raises(AlreadyRegistered, match="overwrite=True"):
        Datastore.register_azure_blob_container(
            workspace, "here", "c", "a", endpoint="http://127.0.0.1:1/a"
        )
    Datastore.register_local(workspace, "HERE", tmp_path.parent, overwrite=True)

    assert workspace.get_datastore("here").definition.display == str(tmp_path.parent)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"container_name": "Bad Name"}, DefinitionRejected, "cannot be a container"),
        ({"datastore_name": "no spaces"}, NameRejected, "a-z, 0-9"),
        ({"endpoint": "http://127.0.0.1:1/a"}, Unavailable, r"127\.0\.0\.1:1"),
        ({"container_name": "absent"}, NotFound, "create_if_not_exists"),
        ({"account_key": "d3Jvbmc="}, CredentialRefused, "images"),
        ({"sas_token": "sig=x"}, DefinitionRejected, "an account key and a SAS"),
        ({"protocol": "ftp"}, DefinitionRejected, 'protocol "ftp"'),
    ],
    ids=["container", "name", "host", "missing", "key", "both", "protocol"],
)
def test_what_is_wrong_is_named_and_nothing_is_kept(
    workspace: Workspace,
    azurite: Azurite,
    given: dict[str, str],
    error: type[Exception],
    said: str,
) -> None:
    """Each mistake is one sentence of its own kind within a bound, and leaves no registration."""
    before = names_of(workspace)
    right = {
        "datastore_name": "images",
        "container_name": "present",
        "account_name": azurite.account,
        "account_key": azurite.key.reveal(),
        "endpoint": azurite.endpoint,
    }
    began = time.monotonic()

    with pytest.raises(error, match=said) as refused:
        Datastore.register_azure_blob_container(workspace, **{**right, **given})  # type: ignore[arg-type]

    assert "\n" not in str(refused.value)
    assert azurite.key.reveal() not in str(refused.value)
    assert time.monotonic() - began < 30
    assert names_of(workspace) == before


def test_an_expired_sas_says_when_it_expired(workspace: Workspace) -> None:
    """A SAS whose time is over is refused with that time, before any network."""
    over = datetime.now(UTC) - timedelta(days=2)
    token = f"?sv=2021-12-02&sp=rl&se={over:%Y-%m-%dT%H:%M:%SZ}&sig=c2ln"

    with pytest.raises(CredentialExpired, match=f"expired at {over:%Y-%m-%dT%H:%M}"):
        Datastore.register_azure_blob_container(workspace, "images", "c", "a", sas_token=token)


def test_skipping_validation_needs_no_network(workspace: Workspace) -> None:
    """With `skip_validation` a store that nobody can reach is registered at once."""
    Datastore.register_azure_blob_container(
        workspace,
        "later",
        "c",
        "a",
        account_key="a2V5",
        endpoint="http://127.0.0.1:1/a",
        skip_validation=True,
    )
    Datastore.register_azure_sql_database(
        workspace, "sql", "server", "db", username="u", password="p", skip_validation=True
    )
    Datastore.register_azure_my_sql(
        workspace, "mysql", "server", "db", "u", "p", "3307", skip_validation=True
    )

    facts = {name: workspace.get_datastore(name).describe() for name in ("sql", "mysql")}
    assert facts["sql"]["place"] == "server.database.windows.net:1433/db"
    assert facts["mysql"]["place"] == "server.mysql.database.azure.com:3307/db"


def test_half_a_service_principal_is_refused(workspace: Workspace) -> None:
    """A lake and a database want all of a service principal, or none of it."""
    with pytest.raises(DefinitionRejected, match="half a service principal"):
        Datastore.register_azure_data_lake_gen2(workspace, "lake", "fs", "a", tenant_id="t")
    with pytest.raises(DefinitionRejected, match="half a service principal"):
        Datastore.register_azure_sql_database(workspace, "sql", "s", "d", client_id="c")
    with pytest.raises(DefinitionRejected, match="without a password"):
        Datastore.register_azure_sql_database(workspace, "sql", "s", "d", username="u")


def test_the_retired_lake_is_kept_with_a_warning(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """A Gen1 registration is remembered; a warning and every use say that Azure retired it."""
    with caplog.at_level(logging.WARNING):
        made = Datastore.register_azure_data_lake(workspace, "gen1", "mystore")

    assert "retired Data Lake Storage Gen1 on 29 February 2024" in caplog.text
    with pytest.raises(Unsupported, match="29 February 2024"):
        made.download("x", show_progress=False)  # type: ignore[attr-defined]


def test_hadoop_files_are_read_now_and_kept_sealed(workspace: Workspace, tmp_path: Path) -> None:
    """A keytab is read when it is registered; exactly one of keytab and password is allowed."""
    keytab = tmp_path / "k.keytab"
    keytab.write_bytes(b"\x05\x02keys")
    common = ("https", "namenode:9871", None, "REALM", "kdc:88", "user@REALM")

    made = Datastore.register_hdfs(workspace, "hdfs", *common, kerberos_keytab=str(keytab))
    keytab.unlink()

    assert made.kerberos_realm == "REALM"
    assert made.credential_type == "Kerberos"
    with pytest.raises(DefinitionRejected, match="exactly one"):
        Datastore.register_hdfs(workspace, "both", *common, str(keytab), "password")
    with pytest.raises(Unsupported, match="Kerberos"):
        made.download("x", show_progress=False)  # type: ignore[attr-defined]


def test_databricks_files_replace_an_earlier_registration(workspace: Workspace) -> None:
    """`register_dbfs` overwrites, as documented, and says where DBFS can be used."""
    Datastore.register_dbfs(workspace, "dbfs")

    made = Datastore.register_dbfs(workspace, "dbfs")

    assert made._record.revision == 2
    with pytest.raises(Unsupported, match="Databricks"):
        made.download("x", show_progress=False)  # type: ignore[attr-defined]


def test_any_credential_can_be_chosen(workspace: Workspace) -> None:
    """A managed identity is registered with the general form; Azure ML's class shows "None"."""
    definition = BlobContainer(DatastoreName("mine"), "c", "a")

    made = Datastore.register(
        workspace, definition, ManagedIdentity("client"), skip_validation=True
    )

    assert (made.credential_type, made.credential()) == (
        "ManagedIdentity",
        ManagedIdentity("client"),
    )


def test_fsspec_options_are_all_secret(workspace: Workspace, tmp_path: Path) -> None:
    """Options of an fsspec URL, whatever they are called, show nowhere."""
    made = Datastore.register_fsspec(
        workspace, "any", f"file://{tmp_path}", auto_mkdir=True, token="t0p-s3cret-t0ken"
    )

    assert made.credential_type == "StorageOptions"
    assert "t0p-s3cret" not in repr(made.credential()) + repr(made) + str(made.describe())


def test_unregistering_keeps_the_data(workspace: Workspace, tmp_path: Path) -> None:
    """An unregistered datastore is gone from the workspace, its files are not."""
    (tmp_path / "x").write_text("data")
    made = Datastore.register_local(workspace, "here", tmp_path)

    made.unregister()

    with pytest.raises(NotRegistered, match="workspaceblobstore"):
        Datastore.get(workspace, "here")
    assert (tmp_path / "x").read_text() == "data"


def test_a_failed_overwrite_leaves_the_old_registration(
    workspace: Workspace, tmp_path: Path
) -> None:
    """When the new store cannot be reached the old definition and secret stay in force."""
    Datastore.register_local(workspace, "here", tmp_path)

    with pytest.raises(Unavailable):
        Datastore.register_azure_blob_container(
            workspace,
            "here",
            "c",
            "a",
            account_key=Secret("a2V5"),
            endpoint="http://127.0.0.1:1/a",
            overwrite=True,
        )

    assert workspace.get_datastore("here").definition.display == str(tmp_path)
