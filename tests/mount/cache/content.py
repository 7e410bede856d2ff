"""Versions of objects whose bytes anybody can compute, so that every byte read can be compared."""

from __future__ import annotations

import os
import random

from mount.cache.contract import CachedFile, CacheKey


def key_for(number: int, size: int, version: str = "v1") -> CacheKey:
    return CacheKey("memory:test", f"train/{number:05}.bin", version, size)


def content(key: CacheKey) -> bytes:
    """The bytes of a version: different for every key, version and size."""
    return random.Random(repr(key)).randbytes(key.size)


def whole(held: CachedFile) -> bytes:
    """Everything in a cached file, which is closed afterwards."""
    with held:
        return os.pread(held.fd, os.fstat(held.fd).st_size + 1, 0)
