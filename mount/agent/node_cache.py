"""The node's cache as jobs find it: one folder, shared by mounts and downloads of every job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mount.places import quota_and_reserve

if TYPE_CHECKING:
    from mount.cache import NodeCache


def open_node_cache(folder: Path) -> NodeCache:
    """The cache in this folder, bounded by its disk; `CacheBroken` or OSError when it cannot be."""
    # Many only want to know where it is.
    from mount.cache import NodeCache

    quota, reserve = quota_and_reserve(folder)
    return NodeCache.open(folder, quota_bytes=quota, reserve_bytes=reserve)
