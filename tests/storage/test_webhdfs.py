"""The Gen1 store keeps every promise against a server that checks its tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from datastores.definitions.data_lake_gen1 import DataLakeGen1
from datastores.names import DatastoreName
from datastores.storage.contract import Patience, Store
from datastores.storage.webhdfs import open_gen1
from tests.contracts.store_contract import FoldersContract, RenamingContract, StoreContract
from tests.servers.webhdfs import Gen1Server


def definition_at(url: str) -> DataLakeGen1:
    """A store as somebody registers it."""
    return DataLakeGen1(name=DatastoreName.parse("lake"), store=url)


class TestGen1Store(RenamingContract, FoldersContract, StoreContract):
    """Every promise, with a token."""

    @pytest.fixture
    def store(self, gen1_server: Gen1Server) -> Iterator[Store]:
        url = gen1_server.store()
        store = open_gen1(definition_at(url), gen1_server.token(), Patience())
        yield store
        store.close()
        left = [name for name in gen1_server.names(url) if "~datastores" in name]
        assert left == []
