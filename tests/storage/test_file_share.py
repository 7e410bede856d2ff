"""The file share store keeps every promise, with the account's key and with signatures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.fileshare import generate_account_sas, generate_share_sas

from datastores.credentials.kinds import AccountKey, Credential, Sas
from datastores.definitions.azure_storage import FileShare
from datastores.errors import Unsupported
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.contract import Patience, Store
from datastores.storage.file_share import open_file_share
from tests.contracts.store_contract import (
    CopyingContract,
    FoldersContract,
    RenamingContract,
    StoreContract,
    everything,
)
from tests.servers.files import FilesServer


def definition_on(server: FilesServer, share: str) -> FileShare:
    """The share as somebody registers it."""
    return FileShare(
        name=DatastoreName.parse("images"),
        container=share,
        account=server.account,
        endpoint=server.endpoint,
    )


def share_sas(server: FilesServer, share: str, permission: str = "rcwdl") -> Sas:
    """A signature for one share, good for an hour."""
    token = generate_share_sas(
        server.account,
        share,
        server.key.reveal(),
        permission=permission,
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return Sas(Secret(token))


def account_sas(server: FilesServer) -> Sas:
    """A signature for all files of the account, good for an hour."""
    token = generate_account_sas(
        server.account,
        server.key.reveal(),
        resource_types="sco",
        permission="rwdlc",
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return Sas(Secret(token))


class FileShareContract(RenamingContract, CopyingContract, FoldersContract, StoreContract):
    """Every promise; names with a question mark, which shares refuse, are proven to be refused."""

    def credential(self, server: FilesServer, share: str) -> Credential:
        raise NotImplementedError("each way of proving oneself brings this")

    @pytest.fixture
    def store(self, files_server: FilesServer) -> Iterator[Store]:
        share = files_server.share()
        store = open_file_share(
            definition_on(files_server, share), self.credential(files_server, share), Patience()
        )
        yield store
        store.close()
        left = [name for name in files_server.names(share) if "~datastores" in name]
        assert left == []

    def test_question_mark_is_refused(self, store: Store) -> None:
        """No file or folder gets a name with a question mark, by whichever way."""
        assert store.renaming
        assert store.copying
        assert store.folders
        store.write("old", b"x")

        for refused in (
            lambda: store.write("a?b/file", b"x"),
            lambda: store.renaming.rename("old", "a?b"),
            lambda: store.copying.copy("old", "a?b"),
            lambda: store.folders.make_folder("a?b"),
        ):
            with pytest.raises(Unsupported, match=r'the character "\?"'):
                refused()

        assert everything(store) == {"old": b"x"}


class TestByAccountKey(FileShareContract):
    """With the account's key."""

    def credential(self, server: FilesServer, share: str) -> Credential:
        return AccountKey(server.key)


class TestByShareSas(FileShareContract):
    """With a signature for the share."""

    def credential(self, server: FilesServer, share: str) -> Credential:
        return share_sas(server, share)


def test_account_sas_serves(files_server: FilesServer) -> None:
    """A signature for the account writes, lists, renames, copies and deletes like its key."""
    share = files_server.share()
    store = open_file_share(
        definition_on(files_server, share), account_sas(files_server), Patience()
    )
    assert store.renaming
    assert store.copying

    store.write("a/one", b"1")
    store.renaming.rename("a/one", "b/two")
    store.copying.copy("b/two", "c/three")
    store.delete("b/two")
    held = everything(store)
    store.close()

    assert held == {"c/three": b"1"}
