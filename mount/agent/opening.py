"""Stores and their credentials, as the leases of a spec allow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from datastores.contract import LeaseSpec
from datastores.credentials.kinds import Anonymous, Credential, Identity
from datastores.definitions import Dbfs, Definition, LocalFolder
from datastores.errors import TransferFailed
from datastores.secret import redact
from datastores.storage.contract import Patience, Store
from datastores.storage.open import open_store
from mount.agent.leash import Leash, LeashedStore, OnWritten
from mount.leases import RenewableLease, open_renewable


def credential_of(definition: Definition, lease: LeaseSpec | None) -> Credential:
    """The proof that a lease gives.

    Without a lease a folder needs none, and anything else trusts the machine's own identity.
    """
    if lease is None:
        return Anonymous() if isinstance(definition, LocalFolder | Dbfs) else Identity()
    return lease.credential


@contextmanager
def opened(
    definition: Definition,
    lease: RenewableLease,
    leash: Leash,
    patience: Patience,
    on_written: OnWritten | None = None,
) -> Iterator[Store]:
    """The store of a definition for the length of the block, also when its lease is renewed."""

    def open_with(spec: LeaseSpec | None) -> Store:
        credential = credential_of(definition, spec)
        return open_store(definition, credential, patience, on_pause=leash.on_pause)

    store = open_renewable(lease, open_with, check=leash.check)
    try:
        yield LeashedStore(store, leash, on_written)
    finally:
        store.close()


def reason_of(error: BaseException) -> str:
    """Why something failed, in one sentence."""
    cause = error
    if isinstance(error, TransferFailed) and error.failures:
        cause = error.failures[0][1]
    text = redact(str(cause))
    if isinstance(error, TransferFailed) and len(error.failures) > 1:
        text = f"{text} (and {len(error.failures) - 1} more files)"
    return text
