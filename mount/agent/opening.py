"""Stores and their credentials, as the leases of a spec allow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from datastores.contract import LeaseSpec
from datastores.credentials.kinds import Anonymous, Credential, Identity
from datastores.definitions import Dbfs, Definition, LocalFolder
from datastores.errors import (
    CredentialError,
    CredentialExpired,
    PermissionDenied,
    TransferFailed,
)
from datastores.secret import redact
from datastores.storage.contract import Patience, Store
from datastores.storage.open import open_store
from mount.agent.leash import Leash, LeashedStore, OnWritten

_REMEDY = "start the run again, or resume it with a fresh spec"


def credential_of(definition: Definition, lease: LeaseSpec | None) -> Credential:
    """The proof to use now; `CredentialExpired` when the lease has ended.

    Without a lease a folder needs none, and anything else trusts the machine's own identity.
    """
    if lease is None:
        return Anonymous() if isinstance(definition, LocalFolder | Dbfs) else Identity()
    if lease.expires_at is not None and lease.expires_at <= time.time():
        raise _expired(definition, lease.expires_at)
    return lease.credential


@contextmanager
def opened(
    definition: Definition,
    lease: LeaseSpec | None,
    leash: Leash,
    patience: Patience,
    on_written: OnWritten | None = None,
) -> Iterator[Store]:
    """The store of a definition for the length of the block."""
    store = open_store(
        definition, credential_of(definition, lease), patience, on_pause=leash.on_pause
    )
    try:
        yield LeashedStore(store, leash, on_written)
    finally:
        store.close()


def reason_of(
    error: BaseException, definition: Definition | None = None, lease: LeaseSpec | None = None
) -> str:
    """Why something failed, in one sentence; a lease that has ended is named as the cause."""
    cause = error
    if isinstance(error, TransferFailed) and error.failures:
        cause = error.failures[0][1]
    ends = lease.expires_at if lease is not None else None
    refused = isinstance(cause, CredentialError | PermissionDenied)
    if refused and definition is not None and ends is not None and ends <= time.time():
        cause = _expired(definition, ends)
    text = redact(str(cause))
    if isinstance(error, TransferFailed) and len(error.failures) > 1:
        text = f"{text} (and {len(error.failures) - 1} more files)"
    return text


def _expired(definition: Definition, ends: float) -> CredentialExpired:
    return CredentialExpired(definition.name, datetime.fromtimestamp(ends, UTC), _REMEDY)
