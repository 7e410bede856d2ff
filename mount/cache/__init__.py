"""The node-wide cache of files on disk, shared by mounts, downloads and jobs."""

from mount.cache.contract import Cache, CachedFile, CacheKey, CacheStatus, NoRoom, PartialFile
from mount.cache.node_cache import NodeCache

__all__ = [
    "Cache",
    "CacheKey",
    "CacheStatus",
    "CachedFile",
    "NoRoom",
    "NodeCache",
    "PartialFile",
]
