"""Leases that end and are renewed, against a service that judges them by its own clock."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from datastores.contract import LeaseSpec
from datastores.credentials.kinds import AccountKey, Anonymous, Sas
from datastores.definitions import BlobContainer
from datastores.errors import CredentialExpired, CredentialRefused, PermissionDenied
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.blob.store import open_blob
from datastores.storage.contract import Patience, Store
from datastores.storage.memory import MemoryStore
from mount.leases import RenewableLease, RenewableStore, open_renewable
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.contracts.store_contract import content, keys
from tests.servers.azurite import Azurite

WAIT_SECONDS = 60.0


class Service:
    """A container, and leases of any length for it."""

    def __init__(self, azurite: Azurite) -> None:
        self._azurite = azurite
        self.definition = BlobContainer(
            DatastoreName("images"), azurite.container(), azurite.account, azurite.endpoint
        )
        store = open_blob(self.definition, AccountKey(azurite.key), Patience())
        for index in range(3):
            store.write(f"train/{index}", b"%d" % index)
        store.close()

    def lease(self, seconds: float, **rights: bool) -> LeaseSpec:
        # A signature's end has no fraction of a second.
        ends = float(int(time.time() + seconds))
        token = generate_container_sas(
            self._azurite.account,
            self.definition.container,
            account_key=self._azurite.key.reveal(),
            permission=ContainerSasPermissions(**(rights or {"read": True, "list": True})),
            expiry=datetime.fromtimestamp(ends, UTC),
            start=datetime.now(UTC) - timedelta(hours=1),
        )
        return LeaseSpec(Sas(Secret(token)), ends)

    def open(self, spec: LeaseSpec | None) -> Store:
        assert spec is not None
        return open_blob(self.definition, spec.credential, Patience(attempts=1))


@pytest.fixture
def service(azurite: Azurite) -> Service:
    return Service(azurite)


def _await_end(lease: LeaseSpec) -> None:
    assert lease.expires_at is not None
    # The end of a credential is a moment; no event marks it.
    time.sleep(max(0.0, lease.expires_at - time.time()) + 0.1)


def test_a_renewal_in_time_is_not_noticed(service: Service) -> None:
    """After the first lease has ended a store that was renewed before goes on, streams included."""
    first = service.lease(3)
    lease = RenewableLease("images", first, late_seconds=0)
    store = open_renewable(lease, service.open)
    before = content(store, "train/1")
    stream = store.read("train/2")

    lease.renew(service.lease(600))
    _await_end(first)

    assert (before, content(store, "train/1"), b"".join(stream)) == (b"1", b"1", b"2")
    assert keys(store.list("train/")) == ["train/0", "train/1", "train/2"]
    stream.close()
    store.close()


def test_a_late_renewal_is_waited_for(service: Service) -> None:
    """A request made after the end waits for the renewal, and goes on the moment it comes."""
    first = service.lease(1)
    lease = RenewableLease("images", first, late_seconds=WAIT_SECONDS)
    store = open_renewable(lease, service.open)
    _await_end(first)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(content(store, "train/1")))
    reader.start()
    began = time.monotonic()

    lease.renew(service.lease(600))
    reader.join(WAIT_SECONDS)

    assert got == [b"1"]
    assert time.monotonic() - began < WAIT_SECONDS / 2
    store.close()


def test_without_a_renewal_the_end_is_named_once(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease that nobody renews is an error that names store and moment, logged once for all."""
    first = service.lease(1)
    lease = RenewableLease("images", first, late_seconds=0)
    store = open_renewable(lease, service.open)
    _await_end(first)

    with caplog.at_level(logging.ERROR, "mount"):
        for _ in range(3):
            with pytest.raises(CredentialExpired) as expired:
                store.stat("train/1")

    assert first.expires_at is not None
    when = datetime.fromtimestamp(first.expires_at, UTC)
    assert (expired.value.store, expired.value.expired) == ("images", when)
    assert [record.message for record in caplog.records] == [str(expired.value)]
    assert lease.trouble == str(expired.value)
    store.close()


def test_a_renewal_after_the_failure_revives_the_store(service: Service) -> None:
    """A store that failed because its lease ended works again when a new one comes at last."""
    first = service.lease(1)
    lease = RenewableLease("images", first, late_seconds=0)
    store = open_renewable(lease, service.open)
    _await_end(first)
    with pytest.raises(CredentialExpired):
        store.stat("train/1")

    lease.renew(service.lease(600))

    assert content(store, "train/1") == b"1"
    store.close()


def test_a_lease_that_the_service_ends_early_says_so(service: Service) -> None:
    """When the service refuses a lease at its end, before this clock says so, the end is named."""
    short = service.lease(1)
    assert short.expires_at is not None
    # This clock believes that it has four seconds more.
    shown = LeaseSpec(short.credential, short.expires_at + 4)
    lease = RenewableLease("images", shown, late_seconds=-3.5)
    store = open_renewable(lease, service.open)
    _await_end(short)

    with pytest.raises(CredentialExpired) as expired:
        store.stat("train/1")

    assert expired.value.expired == datetime.fromtimestamp(short.expires_at + 4, UTC)
    store.close()


def test_a_missing_right_is_not_taken_for_an_end(service: Service) -> None:
    """What a living lease does not allow is refused at once, as what it is."""
    lease = RenewableLease("images", service.lease(600), late_seconds=WAIT_SECONDS)
    store = open_renewable(lease, service.open)

    with pytest.raises((PermissionDenied, CredentialRefused)):
        store.write("train/new", b"x")

    lease.renew(service.lease(600, read=True, write=True, create=True))
    assert store.write("train/new", b"x").size == 1
    store.close()


def test_the_wait_for_a_renewal_can_be_called_off() -> None:
    """A check that raises ends the wait for a late lease at once."""
    ended = LeaseSpec(Anonymous(), time.time() - 1)
    lease = RenewableLease("images", ended, late_seconds=WAIT_SECONDS)

    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    with pytest.raises(Enough):
        open_renewable(lease, lambda _: MemoryStore(), check=check)


class Counted(MemoryStore):
    """Tells how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_old_stores_are_closed_when_nobody_uses_them() -> None:
    """A store that was exchanged is closed once: at once when idle, else with its last stream."""
    stores: list[Counted] = []

    def opened(_: object) -> Store:
        stores.append(Counted("images"))
        stores[-1].write("a", b"alpha")
        return stores[-1]

    lease = RenewableLease("images", None)
    store = open_renewable(lease, opened)
    stream = store.read("a")

    lease.renew(LeaseSpec(Anonymous()))
    store.stat("a")
    lease.renew(LeaseSpec(Anonymous()))
    store.stat("a")
    while_open = [one.closed for one in stores]
    stream.close()
    stream.close()
    store.close()

    assert while_open == [0, 1, 0]
    assert [one.closed for one in stores] == [1, 1, 1]


def test_a_broken_stream_goes_on_where_it_was() -> None:
    """A read refused in the middle continues in the new store at its byte, in its version."""
    inner = MemoryStore("images", piece_bytes=4)
    inner.write("a", b"0123456789")
    refusal = CredentialRefused("images", "it was revoked; give another")
    first = FaultyStore(inner).plan("read", Fault(break_at=6, break_error=refusal))
    second = FaultyStore(inner)
    stores = iter([first, second])
    lease = RenewableLease("images", None)
    store = open_renewable(lease, lambda _: next(stores))
    pieces: list[bytes] = []

    with store.read("a") as stream:
        for piece in stream:
            if not pieces:
                lease.renew(LeaseSpec(Anonymous()))
            pieces.append(bytes(piece))

    assert b"".join(pieces) == b"0123456789"
    assert second.calls == [("read", "a")]


def test_threads_read_while_leases_change() -> None:
    """Eight readers and a thousand renewals end with every byte read and every old store closed."""
    inner = MemoryStore("images")
    inner.write("a", b"alpha" * 100)
    opened: list[Any] = []

    class Front(Counted):
        def read(self, key: str, **options: Any) -> Any:
            assert not self.closed, "it is read after it was closed"
            return inner.read(key, **options)

    def open_with(_: object) -> Store:
        opened.append(Front("images"))
        return opened[-1]  # type: ignore[no-any-return]  # a Front

    lease = RenewableLease("images", None)
    store = open_renewable(lease, open_with)
    wrong: list[object] = []

    def read() -> None:
        try:
            got = {content(store, "a") for _ in range(300)}
            wrong.extend(got - {b"alpha" * 100})
        except Exception as error:  # noqa: BLE001  # shown by the assertion
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for _ in range(1000):
        lease.renew(LeaseSpec(Anonymous()))
    for reader in readers:
        reader.join(WAIT_SECONDS)
    store.close()

    assert wrong == []
    assert {one.closed for one in opened} == {1}
    assert isinstance(store, RenewableStore)


def test_a_child_reads_whatever_the_threads_of_its_parent_were_doing(service: Service) -> None:
    """A process forked while every lock of the store is held can use it all the same."""
    store = open_renewable(RenewableLease("images", service.lease(600)), service.open)
    with store.lease._changed, store._lock, store._tenure._lock:  # what threads may hold
        child = os.fork()
        if not child:
            code = 1
            try:
                signal.alarm(int(WAIT_SECONDS))
                code = 0 if content(store, "train/1") == b"1" else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    store.close()
    assert os.waitstatus_to_exitcode(status) == 0
