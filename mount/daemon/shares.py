"""What must agree before two jobs may use one mount."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from mount.daemon.home import Home
from mount.host.order import MountOrder, order_to_json

# Who asks, where it is to appear, with which proof, and what it would like ahead of time: none of
# these changes what is seen. The limits of the cache belong to whoever came first.
_ITS_OWN = (
    "name",
    "at",
    "spool",
    "lease",
    "warm",
    "cache_quota_bytes",
    "cache_reserve_bytes",
    "stop_seconds",
    "most_restarts",
    "patience",
)


def share_of(order: MountOrder) -> str:
    """The name of the mount that this order can share: equal for equal stores, places and views."""
    raw = json.loads(order_to_json(order.without_lease()))
    seen = {name: value for name, value in raw.items() if name not in _ITS_OWN}
    digest = hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
    return f"{order.definition.name}-{digest[:16]}"


def shared_order(order: MountOrder, home: Home, spools: Path) -> MountOrder:
    """The order as the daemon has it mounted: at a place of its own, with a spool that stays."""
    share = share_of(order)
    return replace(order, name=share, at=home.mountpoint(share), spool=spools / share)
