"""The node's cache as jobs find it: one folder, shared by mounts and downloads of every job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mount.cache import NodeCache

CACHE_VARIABLE = "DATASTORES_CACHE"
# Of the disk that holds the cache: jobs come and go, and the disk belongs to others as well.
_QUOTA_SHARE, _RESERVE_SHARE = 0.5, 0.05


def cache_folder() -> Path:
    """The node's cache: `$DATASTORES_CACHE`, or this user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "datastores" / "files"


def open_node_cache(folder: Path) -> NodeCache:
    """The cache in this folder, bounded by its disk; `CacheBroken` or OSError when it cannot be."""
    # Many only want to know where it is.
    import shutil

    from mount.cache import NodeCache

    folder.mkdir(parents=True, exist_ok=True)
    total = shutil.disk_usage(folder).total
    return NodeCache.open(
        folder,
        quota_bytes=int(total * _QUOTA_SHARE),
        reserve_bytes=int(total * _RESERVE_SHARE),
    )
