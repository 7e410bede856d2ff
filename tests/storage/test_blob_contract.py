"""Blob containers and ADLS Gen2 file systems against the promises of every store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from datastores.credentials.kinds import AccountKey, Sas
from datastores.definitions.azure_storage import BlobContainer, DataLakeGen2
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.blob import open_blob
from datastores.storage.contract import Patience, Store
from tests.contracts.store_contract import (
    CopyingContract,
    FoldersContract,
    StagingContract,
    StoreContract,
)
from tests.servers.azurite import Azurite


class BlobContract(StagingContract, CopyingContract, FoldersContract, StoreContract):
    """Everything that every kind of blob store can do."""


class TestContainerWithAccountKey(BlobContract):
    @pytest.fixture
    def store(self, azurite: Azurite) -> Iterator[Store]:
        definition = BlobContainer(
            DatastoreName("pictures"), azurite.container(), azurite.account, azurite.endpoint
        )
        store = open_blob(definition, AccountKey(azurite.key), Patience())
        yield store
        store.close()


class TestContainerWithSas(BlobContract):
    @pytest.fixture
    def store(self, azurite: Azurite) -> Iterator[Store]:
        container = azurite.container()
        token = generate_container_sas(
            azurite.account,
            container,
            azurite.key.reveal(),
            permission=ContainerSasPermissions(
                read=True, write=True, delete=True, list=True, add=True, create=True
            ),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        definition = BlobContainer(
            DatastoreName("pictures"), container, azurite.account, azurite.endpoint
        )
        store = open_blob(definition, Sas(Secret(token)), Patience())
        yield store
        store.close()


class TestDataLakeGen2(BlobContract):
    @pytest.fixture
    def store(self, azurite: Azurite) -> Iterator[Store]:
        definition = DataLakeGen2(
            DatastoreName("lake"), azurite.container(), azurite.account, azurite.endpoint
        )
        store = open_blob(definition, AccountKey(azurite.key), Patience())
        yield store
        store.close()
