"""A node of its own for each test, and a container whose requests are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from datastores.contract import LeaseSpec
from datastores.credentials.kinds import Sas
from datastores.definitions import BlobContainer
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.blob.store import open_blob
from datastores.storage.contract import Patience
from tests.mount.daemon.node import Node
from tests.servers.azurite import Azurite
from tests.servers.fault_proxy import FaultProxy


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node where nothing runs yet; whatever the test left is ended."""
    made = Node.make(tmp_path)
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True, slots=True)
class Cloud:
    """A container with a lease, behind a proxy that counts."""

    proxy: FaultProxy
    definition: BlobContainer
    lease: LeaseSpec

    def write(self, key: str, data: bytes) -> None:
        store = open_blob(self.definition, self.lease.credential, Patience())
        try:
            store.write(key, data)
        finally:
            store.close()

    def read(self, key: str) -> bytes:
        store = open_blob(self.definition, self.lease.credential, Patience())
        try:
            with store.read(key) as stream:
                return b"".join(bytes(piece) for piece in stream)
        finally:
            store.close()


@pytest.fixture
def cloud(azurite: Azurite) -> Iterator[Cloud]:
    """A fresh container."""
    container = azurite.container()
    ends = datetime.now(UTC) + timedelta(hours=1)
    token = generate_container_sas(
        azurite.account,
        container,
        account_key=azurite.key.reveal(),
        permission=ContainerSasPermissions(read=True, write=True, delete=True, list=True),
        expiry=ends,
    )
    with FaultProxy(azurite.endpoint) as proxy:
        definition = BlobContainer(
            DatastoreName("cloud"), container, azurite.account, endpoint=proxy.endpoint
        )
        yield Cloud(proxy, definition, LeaseSpec(Sas(Secret(token)), ends.timestamp()))
