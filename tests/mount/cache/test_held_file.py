"""Where a held file is, however it came into the cache."""

from __future__ import annotations

import os
from pathlib import Path

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
