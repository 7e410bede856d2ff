"""Where a held file is, however it came into the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mount.cache import lease
from mount.cache.contract import CachedFile, CacheKey
from mount.cache.node_cache import NodeCache


def is_there(held: CachedFile) -> bool:
    """Whether the path is that of the very file."""
    return os.path.samestat(Path(held.path).stat(), os.fstat(held.fd))


def test_every_way_in_tells_where_the_file_is(tmp_path: Path) -> None:
    """Put, found, adopted, linked and filled files are under the path they name."""
    cache = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    small, large = (CacheKey("store", name, "1", size) for name, size in (("a", 3), ("b", 600_000)))
    body = os.urandom(large.size)
    with cache.put(small, b"abc") as put:
        assert is_there(put)
    found = cache.find(small)
    assert found
    with found:
        assert is_there(found)
    for number, given in enumerate((False, True)):
        source = tmp_path / f"source{number}"
        source.write_bytes(body)
        key = CacheKey("store", f"adopted{number}", "1", large.size)
        with cache.adopt(key, str(source), given=given) as adopted:
            assert is_there(adopted)
    filling = cache.fill(large)
    filling.write(0, body)
    finished = filling.finish()
    filling.close()
    assert finished
    with finished:
        assert is_there(finished)
    cache.close()


def test_a_file_that_is_evicted_while_it_is_opened_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between open and lock an eviction may come, though the giver's name is still there."""
    cache = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    key = CacheKey("store", "given", "1", 3)
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    cache.adopt(key, str(source), given=True).close()
    share = lease.share

    def late(fd: int, wait_seconds: float = 1.0) -> bool:
        monkeypatch.setattr(lease, "share", share)
        assert cache.clear() > 0
        return share(fd, wait_seconds)

    monkeypatch.setattr(lease, "share", late)
    assert cache.find(key) is None
    cache.close()
