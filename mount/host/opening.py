"""What a host opens for its order: the store, the cache, the view."""

from __future__ import annotations

import os
from pathlib import Path

from datastores.contract import LeaseSpec
from datastores.credentials.kinds import Anonymous, Credential, Identity
from datastores.definitions import Dbfs, Definition, LocalFolder
from datastores.storage.contract import Patience, Store
from mount.cache import NodeCache
from mount.fs.view import MountView
from mount.fuse.options import MountOptions
from mount.host.order import MountOrder
from mount.leases import RenewableLease, RenewableStore, open_renewable


def open_order(order: MountOrder, lease: RenewableLease) -> RenewableStore:
    """The store of an order, ready for use; nothing is sent before the first call."""
    return open_renewable(lease, lambda spec: open_with(order.definition, spec, order.patience))


def open_with(definition: Definition, lease: LeaseSpec | None, patience: Patience) -> Store:
    """A store with the credential of a lease; without one, with this node's identity."""
    from datastores.storage.open import open_store

    return open_store(definition, _credential(definition, lease), patience)


def open_cache(order: MountOrder) -> NodeCache:
    Path(order.cache).mkdir(parents=True, exist_ok=True)
    return NodeCache.open(
        order.cache, quota_bytes=order.cache_quota_bytes, reserve_bytes=order.cache_reserve_bytes
    )


def view_of(order: MountOrder) -> MountView:
    return MountView(
        read_only=order.read_only,
        place=order.place,
        owner=os.getuid() if order.uid is None else order.uid,
        group=os.getgid() if order.gid is None else order.gid,
        umask=order.umask,
        stop_seconds=order.stop_seconds,
    )


def options_of(order: MountOrder) -> MountOptions:
    return MountOptions(
        source=order.definition.display,
        read_only=order.read_only,
        allow_other=order.allow_other,
        umask=order.umask,
    )


def _credential(definition: Definition, lease: LeaseSpec | None) -> Credential:
    if lease is None:
        return Anonymous() if isinstance(definition, LocalFolder | Dbfs) else Identity()
    return lease.credential
