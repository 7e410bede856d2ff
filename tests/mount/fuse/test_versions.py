"""Whichever way a file comes to its reader through the kernel, that it was opened is noted."""

from __future__ import annotations

import json
from pathlib import Path

from datastores.storage.local import LocalStore
from mount.fs.version_pages import lines
from tests.mount.fuse.test_errands import mounted, read_all, source

__all__ = ["source"]

# More than is fetched whole when it is opened.
LARGE = 6 * 1024 * 1024


def test_every_way_to_open_a_file_is_noted(tmp_path: Path, source: Path) -> None:
    """Small files that other processes brought, large ones by ranges, and then all from the cache."""
    (source / "large").write_bytes(b"l" * LARGE)
    with mounted(tmp_path, source) as (place, files):
        files.note_versions(tmp_path / "notes")
        read_all(place)
        cold = files.counters()
        first = sorted(lines(tmp_path / "notes"))
        # A new section forgets what was noted: these are noted on the warm way alone.
        files.note_versions(tmp_path / "later")
        read_all(place)
        warm = files.counters()

    store = LocalStore("source", source)
    infos = [store.stat(path.name) for path in source.iterdir()]
    wanted = sorted([info.key, info.size, info.version] for info in infos)
    assert sorted(json.loads(line) for line in first) == wanted
    assert sorted(lines(tmp_path / "later")) == first
    assert (cold.opens, warm.opens) == (len(wanted), 2 * len(wanted))
    assert warm.backed_opens - cold.backed_opens == len(wanted)
    assert warm.cache_misses == cold.cache_misses
