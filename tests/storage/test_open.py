"""Every kind of definition opens, or says why not and what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datastores.credentials.kinds import AccountKey, Anonymous
from datastores.definitions import (
    BlobContainer,
    DataLakeGen2,
    Dbfs,
    Definition,
    FileShare,
    FsspecUrl,
    Hdfs,
    LocalFolder,
    MySql,
    PostgreSql,
    SqlDatabase,
)
from datastores.errors import Unsupported
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.contract import Patience
from datastores.storage.open import open_dbfs, open_store
from datastores.storage.retrying import RetryingStore
from tests.contracts.store_contract import content

NAME = DatastoreName.parse("images")
KEY = AccountKey(Secret("a2V5" * 16))


def test_local_folder(tmp_path: Path) -> None:
    """A local folder opens, named after its datastore, with its patience."""
    store = open_store(LocalFolder(NAME, str(tmp_path)), Anonymous(), Patience(attempts=7))
    store.write("file", b"x")

    assert isinstance(store, RetryingStore)
    assert (store.label, store.patience.attempts) == ("images", 7)
    assert (tmp_path / "file").read_bytes() == content(store, "file") == b"x"


def test_fsspec_url() -> None:
    """A URL of fsspec opens with retries around it."""
    store = open_store(FsspecUrl(NAME, "memory://opened"), Anonymous())

    assert isinstance(store, RetryingStore)
    assert (store.label, store.identity) == ("images", "memory://opened")


@pytest.mark.parametrize(
    "definition",
    [
        BlobContainer(NAME, "c", "account"),
        DataLakeGen2(NAME, "c", "account"),
        FileShare(NAME, "c", "account"),
    ],
    ids=lambda definition: definition.kind,
)
def test_azure_kinds(definition: Definition) -> None:
    """Stores of an account open without a request, and their identities are their places."""
    store = open_store(definition, KEY)
    store.close()

    assert isinstance(store, RetryingStore)
    assert (store.label, "account" in store.identity) == ("images", True)


def test_dbfs_elsewhere(tmp_path: Path) -> None:
    """Without its folder DBFS cannot be used, and the sentence names Databricks and a remedy."""
    with pytest.raises(Unsupported, match="run the job on a Databricks cluster"):
        open_dbfs(Dbfs(NAME), tmp_path / "dbfs")


def test_dbfs_on_a_node(tmp_path: Path) -> None:
    """Where its folder is, DBFS is that folder."""
    (tmp_path / "file").write_bytes(b"x")

    assert content(open_dbfs(Dbfs(NAME), tmp_path), "file") == b"x"


def test_hdfs() -> None:
    """HDFS is refused with what is missing and what to do instead."""
    hdfs = Hdfs(NAME, "https", "node:50070", None, "REALM", "kdc", "user@REALM")

    with pytest.raises(Unsupported, match=r"Kerberos.*mount it on the node"):
        open_store(hdfs, Anonymous())


@pytest.mark.parametrize(
    "definition",
    [
        SqlDatabase(NAME, "server", "db"),
        PostgreSql(NAME, "server", "db"),
        MySql(NAME, "server", "db"),
    ],
    ids=lambda definition: definition.kind,
)
def test_databases_hold_rows(definition: Definition) -> None:
    """A database is no store of files, and the sentence says what to use."""
    with pytest.raises(Unsupported, match="holds rows, not files; use a query"):
        open_store(definition, Anonymous())


def test_opening_imports_only_what_it_opens() -> None:
    """Opening a local folder loads no Azure library, no HTTP client and no fsspec."""
    program = (
        "import sys\n"
        "from datastores.storage.open import open_store\n"
        "from datastores.definitions import LocalFolder\n"
        "from datastores.credentials.kinds import Anonymous\n"
        "from datastores.names import DatastoreName\n"
        "open_store(LocalFolder(DatastoreName.parse('here'), '/'), Anonymous())\n"
        "print([m for m in ('azure', 'urllib3', 'fsspec', 'requests') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"
