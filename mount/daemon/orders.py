"""From what an agent wishes to what a host is ordered to do, with this node's cache and spools."""

from __future__ import annotations

import os
from pathlib import Path

from datastores.value import Value, field
from mount.agent.mounting import MountWish
from mount.errors import CacheBroken
from mount.host.order import MountOrder
from mount.places import cache_folder, quota_and_reserve, spool_folder


class CacheWish(Value):
    """Which cache a mount uses, and how much of its disk; None is half of it."""

    folder: Path = field(default_factory=cache_folder)
    quota_bytes: int | None = None

    def quota_and_reserve(self) -> tuple[int, int]:
        try:
            quota, reserve = quota_and_reserve(self.folder)
        except OSError as error:
            raise CacheBroken(
                str(self.folder), f"{error.strerror}; name another with --cache"
            ) from error
        return quota if self.quota_bytes is None else self.quota_bytes, reserve


def order_of(wish: MountWish, cache: CacheWish) -> MountOrder:
    """The order for a wish; the daemon chooses the mount's own place and its spool."""
    quota, reserve = cache.quota_and_reserve()
    return MountOrder(
        name=wish.name,
        definition=wish.definition,
        place=wish.place,
        at=wish.at.absolute(),
        cache=cache.folder.absolute(),
        cache_quota_bytes=quota,
        cache_reserve_bytes=reserve,
        spool=spool_folder() / "unassigned",
        read_only=not wish.is_writable,
        uid=os.getuid(),
        gid=os.getgid(),
        lease=wish.lease,
    )
