"""A disk that is full, read-only or out of descriptors: no room, never a wrong byte or an error."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mount.cache.contract import CacheKey, NoRoom
from mount.cache.layout import SMALLEST_BLOCK_BYTES
from mount.cache.node_cache import NodeCache
from mount.cache.room import Limits
from mount.errors import CacheBroken
from tests.mount.cache.content import content, key_for, whole

BLOCK = SMALLEST_BLOCK_BYTES
EAGER = Limits(0, 0, refuse_seconds=0.0)


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own, as small as the options say."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def everything(cache: NodeCache, source: Path) -> set[str]:
    """Use every part of a cache, compare every byte, and say what worked."""
    worked = set()
    small, adopted, large = key_for(1, 6000), key_for(2, 9000), key_for(3, 3 * BLOCK + 1)
    try:
        cache.put(small, content(small)).close()
        worked.add("put")
    except NoRoom:
        worked.add("no put")
    try:
        cache.adopt(adopted, str(source)).close()
        worked.add("adopt")
    except NoRoom:
        worked.add("no adopt")
    try:
        worked |= fill(cache, large)
    except NoRoom:
        worked.add("no fill")
    for key in (small, adopted, large):
        if held := cache.find(key):
            assert whole(held) == content(key)
            worked.add(f"found {key.size}")
    cache.status()
    cache.verify()
    return worked


def fill(cache: NodeCache, key: CacheKey) -> set[str]:
    body = content(key)
    filling = cache.fill(key)
    try:
        for start in range(0, key.size, BLOCK):
            filling.write(start, body[start : start + BLOCK])
            got = filling.read(start, BLOCK)
            assert got is None or got == body[start : start + BLOCK]
        held = filling.finish()
        if held is None:
            # All blocks may be there and only the last rename refused; then they are readable.
            assert filling.missing(0, key.size) or filling.read(0, key.size) == body
            return {"no finish"}
        assert whole(held) == body
        return {"finish"}
    finally:
        filling.close()


def outcome(disk: Path, source: Path) -> set[str]:
    try:
        cache = NodeCache.open(disk / "cache", quota_bytes=1 << 30, reserve_bytes=0, limits=EAGER)
    except CacheBroken:
        return {"broken"}
    try:
        return everything(cache, source)
    finally:
        cache.close()


def test_no_space_at_every_step(tmp_path: Path) -> None:
    """However many pages the disk has, each step works or is refused, and the largest disk does all."""
    source = tmp_path / "source"
    source.write_bytes(content(key_for(2, 9000)))
    pages = [*range(1, 24), *range(24, 300, 13), 400]

    outcomes = {}
    for count in pages:
        with small_disk(tmp_path / "disk", f"size={count * 4096}") as disk:
            outcomes[count] = outcome(disk, source)

    assert outcomes[pages[-1]] == {
        "put", "adopt", "finish", "found 6000", "found 9000", f"found {3 * BLOCK + 1}",
    }  # fmt: skip
    refused = set().union(*outcomes.values())
    assert {"no put", "no adopt", "no fill", "no finish"} <= refused


def test_reserve_is_kept_by_eviction(tmp_path: Path) -> None:
    """On a disk that fills up the oldest files go, and the reserve stays free."""
    keys = [key_for(number, 200_000) for number in range(30)]
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        cache = NodeCache.open(disk / "cache", quota_bytes=1 << 30, reserve_bytes=1 << 20)
        free = []
        for key in keys:
            cache.put(key, content(key)).close()
            space = os.statvfs(disk)
            free.append(space.f_bavail * space.f_frsize)
        status = cache.status()
        last = cache.find(keys[-1])
        assert last is not None
        assert whole(last) == content(keys[-1])
        cache.close()

    assert min(free) >= 1 << 20
    assert 10 <= status.files < 30
    assert status.files + status.evictions == 30


def test_no_inode_at_every_step(tmp_path: Path) -> None:
    """However many files the disk can have, each step works or is refused."""
    source = tmp_path / "source"
    source.write_bytes(content(key_for(2, 9000)))

    outcomes = {}
    for count in range(1, 30):
        with small_disk(tmp_path / "disk", f"size=8m,nr_inodes={count}") as disk:
            outcomes[count] = outcome(disk, source)

    refused = set().union(*outcomes.values())
    assert {"broken", "no put", "no adopt", "no fill", "put", "adopt", "finish"} <= refused
    assert outcomes[29] >= {"put", "adopt", "finish"}


def test_full_disk_recovers_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that others filled refuses, each time counted and once logged; emptied, it takes again."""
    key = key_for(1, 100_000)
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        cache = NodeCache.open(disk / "cache", quota_bytes=1 << 30, reserve_bytes=0, limits=EAGER)
        before = key_for(2, 500)
        cache.put(before, content(before)).close()
        others = os.open(disk / "others", os.O_WRONLY | os.O_CREAT)
        with suppress(OSError):
            while True:
                os.write(others, bytes(4096))
        os.close(others)

        with caplog.at_level(logging.WARNING, "mount.cache"):
            filling = [refused(cache, key) for _ in range(3)]
        (disk / "others").unlink()
        found = cache.find(before)

        # What was there may have been evicted to make room on the disk; it is never wrong.
        assert found is None or whole(found) == content(before)
        assert filling == [True] * 3
        assert len(caplog.records) <= 2
        assert whole(cache.put(key, content(key))) == content(key)
        cache.close()


def refused(cache: NodeCache, key: CacheKey) -> bool:
    try:
        cache.put(key, content(key)).close()
    except NoRoom:
        return True
    return False


def test_read_only_folder_serves_what_it_has(tmp_path: Path) -> None:
    """On a disk that became read-only files are found, counted and verified; nothing is taken in."""
    key, other = key_for(1, 6000), key_for(2, 9000)
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        writer = NodeCache.open(disk / "cache", quota_bytes=1 << 30, reserve_bytes=0)
        writer.put(key, content(key)).close()
        writer.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

        cache = NodeCache.open(
            disk / "cache",
            quota_bytes=1 << 30,
            reserve_bytes=0,
            limits=Limits(0, 0, touch_seconds=0),
        )
        found = cache.find(key)
        assert found is not None
        served = whole(found)
        refusals = [refused(cache, other)]
        with pytest.raises(NoRoom):
            cache.fill(other)
        cache.forget(key)
        status, findings = cache.status(), cache.verify()
        cache.close()

    assert (served, refusals) == (content(key), [True])
    assert (status.files, status.hits, findings.damaged) == (1, 1, ())
    assert {trouble.rpartition(" ")[2] for trouble in cache.troubles} == {"EROFS"}


def test_read_only_disk_without_a_cache_is_broken(tmp_path: Path) -> None:
    """A cache that cannot be made is an error when it is opened."""
    with small_disk(tmp_path / "disk", "size=1m,ro") as disk, pytest.raises(CacheBroken):
        NodeCache.open(disk / "cache", quota_bytes=1 << 30, reserve_bytes=0)


def test_no_descriptor_at_every_step(tmp_path: Path) -> None:
    """However few descriptors are left, each step works or is refused, and none is leaked."""
    source = tmp_path / "source"
    source.write_bytes(content(key_for(2, 9000)))
    in_use = descriptors()

    outcomes = []
    for spare in range(1, 9):
        cache = NodeCache.open(
            tmp_path / f"{spare}", quota_bytes=1 << 30, reserve_bytes=0, limits=EAGER
        )
        with few_descriptors(spare):
            outcomes.append(everything(cache, source))
        cache.close()

    assert {"no put", "no adopt", "no fill"} <= outcomes[0]
    assert outcomes[-1] >= {"put", "adopt", "finish"}
    assert descriptors() == in_use


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Leave this process so many descriptors that it may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(spare):
            os.close(taken.pop())
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
