"""Where a node keeps what mounts and jobs share: its cache, and what waits for its store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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


def quota_and_reserve(folder: Path) -> tuple[int, int]:
    """How many bytes a cache in this folder may hold, and how many of its disk it leaves alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    total = shutil.disk_usage(folder).total
    return int(total * _QUOTA_SHARE), int(total * _RESERVE_SHARE)


def _folder(variable: str, name: str) -> Path:
    given = os.environ.get(variable)
    if given:
        return Path(given).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "datastores" / name
