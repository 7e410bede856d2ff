"""Room that a process takes ahead of its small files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mount.cache.census import take_census
from mount.cache.contract import NoRoom
from mount.cache.layout import Layout, charge
from mount.cache.node_cache import NodeCache
from mount.cache.room import Limits
from tests.mount.cache.content import content, key_for, whole
from tests.mount.cache.test_full_disk import small_disk

ROOT = Path(__file__).parents[3]
AHEAD = 1 << 20
SMALL = Limits(0, 0, refuse_seconds=0.0, ahead_bytes=64 * 1024)


def open_cache(
    folder: Path, quota_bytes: int = AHEAD * 1024, limits: Limits | None = None
) -> NodeCache:
    return NodeCache.open(
        folder, quota_bytes=quota_bytes, reserve_bytes=0, limits=limits or Limits(0, 0)
    )


def put(cache: NodeCache, number: int, size: int = 1000) -> None:
    key = key_for(number, size)
    assert whole(cache.put(key, content(key))) == content(key)


def counted(folder: Path) -> int:
    return take_census(Layout(folder / "v1"), time.time_ns())[1]


def used(folder: Path) -> int:
    cache = open_cache(folder)
    try:
        return cache._shelf.room.ledger.read().used
    finally:
        cache.close()


def test_small_files_share_one_turn_of_the_ledger(tmp_path: Path) -> None:
    """Fifty files are taken as one amount, and what they did not need is given back at the end."""
    cache = open_cache(tmp_path)

    for number in range(50):
        put(cache, number)
    taken = cache._shelf.room.ledger.read()
    cache.close()

    assert (taken.used, taken.ever_taken) == (AHEAD, AHEAD)
    assert (used(tmp_path), counted(tmp_path)) == (50 * charge(1000), 50 * charge(1000))


def test_many_threads_spend_nothing_twice(tmp_path: Path) -> None:
    """Eight threads that need many amounts leave the ledger at what is on the disk."""
    cache = open_cache(tmp_path, limits=SMALL)

    def work(first: int) -> None:
        for number in range(first, 400, 8):
            put(cache, number, 7000)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    cache.close()

    assert (used(tmp_path), counted(tmp_path)) == (400 * charge(7000), 400 * charge(7000))


HOLDER = """
import sys
from pathlib import Path
from mount.cache.node_cache import NodeCache
from tests.mount.cache.content import content, key_for
cache = NodeCache.open(Path(sys.argv[1]), quota_bytes=1 << 30, reserve_bytes=0)
cache.put(key_for(1, 1000), content(key_for(1, 1000))).close()
print("took", flush=True)
sys.stdin.read()
"""


def test_a_census_counts_what_the_living_took_ahead(tmp_path: Path) -> None:
    """All of it while its process lives, nothing of it as soon as that was killed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "took\n"

    alive = used(tmp_path), counted(tmp_path)
    holder.kill()
    holder.communicate(timeout=30)
    dead = used(tmp_path), counted(tmp_path)
    cache = open_cache(tmp_path)
    cache.status()
    cache.close()

    assert (alive, dead) == ((AHEAD, charge(1000) + AHEAD), (AHEAD, charge(1000)))
    assert used(tmp_path) == charge(1000)


FORKING = """
import os, sys
from pathlib import Path
from mount.cache.node_cache import NodeCache
from tests.mount.cache.content import content, key_for
cache = NodeCache.open(Path(sys.argv[1]), quota_bytes=1 << 30, reserve_bytes=0)
cache.put(key_for(1, 1000), content(key_for(1, 1000))).close()
child = os.fork()
number = 3 if child else 2
if not child and sys.argv[2] == "another handle":
    cache = cache.again()
cache.put(key_for(number, 1000), content(key_for(number, 1000))).close()
if child:
    os.waitpid(child, 0)
    print(cache._shelf.room.ledger.read().ever_taken)
cache.close()
"""


@pytest.mark.parametrize("handle", ["the same handle", "another handle"])
def test_a_forked_child_takes_its_own(tmp_path: Path, handle: str) -> None:
    """Parent and child do not spend the same bytes, and both give back what they did not need."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, str(tmp_path), handle],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == f"{2 * AHEAD}\n"
    assert (used(tmp_path), counted(tmp_path)) == (3 * charge(1000), 3 * charge(1000))


def test_the_quota_holds_with_room_taken_ahead(tmp_path: Path) -> None:
    """Three processes that bring in many times the quota never hold more than it, nor are refused."""
    quota = 1 << 20
    caches = [open_cache(tmp_path, quota, SMALL) for _ in range(3)]

    most = 0
    for number in range(600):
        put(caches[number % 3], number, 5000)
        most = max(most, caches[number % 3]._shelf.room.ledger.read().used)
    status = caches[0].status()
    for cache in caches:
        cache.close()

    assert most <= quota
    assert quota // 2 < status.bytes <= quota
    assert status.files + status.evictions == 600


def test_what_was_taken_ahead_is_given_back_when_the_disk_is_full(tmp_path: Path) -> None:
    """A disk that others filled is asked again, and old files go, although room was left."""
    with small_disk(tmp_path / "disk", "size=6m") as disk:
        cache = open_cache(disk / "cache", limits=Limits(0, 0, refuse_seconds=0.0))
        for number in range(5):
            put(cache, number, 100_000)
        others = os.open(disk / "others", os.O_WRONLY | os.O_CREAT)
        with suppress(OSError):
            while True:
                os.write(others, bytes(4096))
        os.close(others)

        outcomes = []
        for number in (10, 11):
            try:
                put(cache, number, 100_000)
                outcomes.append("put")
            except NoRoom:
                outcomes.append("refused")
        status = cache.status()
        cache.close()

    assert outcomes == ["refused", "put"]
    assert status.evictions > 0


@pytest.mark.parametrize("size", [0, 1, 100 * 1024, 256 * 1024])
def test_files_that_cannot_be_nameless_come_in_by_name(tmp_path: Path, size: int) -> None:
    """On a file system that makes no file without a name small files enter, and leave nothing."""
    key = key_for(1, size)
    with_names = open_cache(tmp_path)
    cache = NodeCache(tmp_path, replace(with_names._shelf, has_nameless=False))

    first = whole(cache.put(key, content(key)))
    second = whole(cache.put(key, content(key)))
    found = with_names.find(key)

    assert found is not None
    assert (first, second, whole(found)) == (content(key),) * 3
    assert list((tmp_path / "v1" / "incoming").iterdir()) == []
    assert cache.status().bytes == charge(size)
    cache.close()


def test_what_is_there_is_not_put_twice(tmp_path: Path) -> None:
    """A second `put` answers with the file that is there and takes no more room."""
    key = key_for(1, 5000)
    cache = open_cache(tmp_path)

    with cache.put(key, content(key)) as first, cache.put(key, content(key)) as second:
        same = os.fstat(first.fd).st_ino == os.fstat(second.fd).st_ino
    cache.close()

    assert same
    assert used(tmp_path) == charge(5000)
