"""From what an agent wishes to what a host is ordered to do, with this node's cache and spools."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from mount.agent.mounting import MountWish
from mount.errors import CacheBroken
from mount.host.order import MountOrder

CACHE_VARIABLE = "DATASTORES_CACHE"
SPOOL_VARIABLE = "DATASTORES_SPOOL"
# Of the disk that holds the cache: jobs come and go, and the disk belongs to others as well.
_QUOTA_SHARE, _RESERVE_SHARE = 0.5, 0.05


def cache_folder() -> Path:
    """The node's cache: `$DATASTORES_CACHE`, or this user's cache folder."""
    return _folder(CACHE_VARIABLE, "files")


def spool_folder() -> Path:
    """Where writes wait for their store: `$DATASTORES_SPOOL`, or beside this user's cache.

    On a disk that survives: what is here after a crash is nowhere else.
    """
    return _folder(SPOOL_VARIABLE, "spool")


@dataclass(frozen=True, slots=True)
class CacheWish:
    """Which cache a mount uses, and how much of its disk; None is half of it."""

    folder: Path = field(default_factory=cache_folder)
    quota_bytes: int | None = None

    def quota_and_reserve(self) -> tuple[int, int]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            total = shutil.disk_usage(self.folder).total
        except OSError as error:
            raise CacheBroken(
                str(self.folder), f"{error.strerror}; name another with --cache"
            ) from error
        quota = int(total * _QUOTA_SHARE) if self.quota_bytes is None else self.quota_bytes
        return quota, int(total * _RESERVE_SHARE)


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


def _folder(variable: str, name: str) -> Path:
    given = os.environ.get(variable)
    if given:
        return Path(given).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "datastores" / name
