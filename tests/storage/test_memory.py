"""The memory store keeps every promise."""

from __future__ import annotations

import pytest

from datastores.storage.contract import Store
from datastores.storage.memory import MemoryStore
from tests.contracts.store_contract import (
    CopyingContract,
    FoldersContract,
    RenamingContract,
    StagingContract,
    StoreContract,
)


class TestMemoryStore(
    StagingContract, RenamingContract, CopyingContract, FoldersContract, StoreContract
):
    """Every promise and every power."""

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore("scratch")
