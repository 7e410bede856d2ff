"""Renewals change nothing about a store: every promise and every power holds through them."""

from __future__ import annotations

import itertools

import pytest

from datastores.contract import LeaseSpec
from datastores.credentials.kinds import Anonymous
from datastores.errors import CredentialRefused
from datastores.storage.contract import Store
from datastores.storage.memory import MemoryStore
from mount.leases import RenewableLease, open_renewable
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.contracts.store_contract import (
    CopyingContract,
    FoldersContract,
    RenamingContract,
    StagingContract,
    StoreContract,
)


class EveryPower(
    StagingContract, RenamingContract, CopyingContract, FoldersContract, StoreContract
):
    """Every promise and every power."""


class TestRenewableStore(EveryPower):
    @pytest.fixture
    def store(self) -> Store:
        inner = MemoryStore("scratch")
        return open_renewable(RenewableLease("scratch", None), lambda _: inner)


class Restless(RenewableLease):
    """Renewed before each request."""

    def current(self, check: object = None) -> tuple[int, LeaseSpec | None]:
        self.renew(LeaseSpec(Anonymous()))
        return super().current()


class TestRenewedBeforeEachRequest(EveryPower):
    @pytest.fixture
    def store(self) -> Store:
        inner = MemoryStore("scratch", page_size=7)
        return open_renewable(Restless("scratch", None), lambda _: inner)


class Refused(RenewableLease):
    """A renewal comes whenever one is refused."""

    def refused(self, number: int, error: Exception, check: object = None) -> None:
        self.renew(LeaseSpec(Anonymous()))


class TestRefusedEveryOtherRequest(EveryPower):
    """The credential is refused in calls, in the middle of reads and between pages."""

    @pytest.fixture
    def store(self) -> Store:
        inner = MemoryStore("scratch", page_size=7, piece_bytes=1 << 20)
        refusal = CredentialRefused("scratch", "it was revoked; give another")
        lease = Refused("scratch", None)
        numbers = itertools.count(1)

        def opened(_: LeaseSpec | None) -> Store:
            faulty = FaultyStore(inner)
            middle = 5 * 1024 * 1024 if next(numbers) % 2 else 3
            faulty.plan("read", Fault(break_at=middle, break_error=refusal))
            for method in ("list", "list_folder"):
                # Each time it comes two pages further.
                faulty.plan(method, Fault(error=refusal), nth=next(numbers) // 2 + 2)
            for method in ("stat", "delete", "stage", "staged", "copy", "rename", "make_folder"):
                faulty.plan(method, Fault(error=refusal), nth=2)
            return faulty

        return open_renewable(lease, opened)
