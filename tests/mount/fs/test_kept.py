"""Files that stay open for a while after their last close."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from datastores.storage.memory import MemoryStore
from mount.cache.contract import CachedFile
from mount.cache.node_cache import NodeCache
from mount.fs import contents, kept
from mount.fs.contents import Content
from mount.fs.contract import Backing
from mount.fs.file_system import StoreFileSystem
from mount.fs.kept import FOUND_SECONDS, IDLE_SECONDS, Kept
from mount.fs.spool import Spool
from mount.fs.view import MountView
from tests.mount.fs.conftest import Mounted, put, stored
from tests.mount.fs.kernel import WRITE, KernelInMiniature

SIZE = 100_000


class HeldNothing:
    """A cached file that needs no disk."""

    fd = -1

    def close(self) -> None:
        """Nothing is open."""


def test_a_second_reader_gets_the_file_that_the_first_one_left(mounted: Mounted) -> None:
    """A file that was closed a moment ago is opened again without asking the cache for it."""
    put(mounted, "x", b"bytes")
    with mounted.kernel.open("x", backed=True) as first:
        fd, backing = first.opened.backing_fd, first.opened.backing
    misses = mounted.fs.counters().cache_misses

    with mounted.kernel.open("x", backed=True) as second:
        assert (second.opened.backing_fd, second.opened.backing) == (fd, backing)
        assert (mounted.fs._contents.kept, second.read()) == (0, b"bytes")

    counts = mounted.fs.counters()
    assert (misses, counts.cache_misses, counts.cache_hits) == (1, 1, 1)
    assert (mounted.fs._contents.kept, counts.opens, counts.backed_opens) == (1, 2, 2)


def test_kept_files_give_way_to_what_comes_in(tmp_path: Path) -> None:
    """In a cache of three files, the fourth finds room at once although another was just closed."""
    store = MemoryStore()
    for name in "abcd":
        store.write(name, [os.urandom(SIZE)])
    with Life(tmp_path, store, quota_bytes=4 * SIZE) as life:
        life.fs._contents._kept = Kept(10, 4 * SIZE)
        for name in "abc":
            life.kernel.read(name, backed=True)
        assert life.fs._contents.kept == 1  # each one gave way to the next

        with life.kernel.open("d", backed=True) as file:
            assert file.opened.backing_fd is not None
        assert life.fs.counters().without_cache == 0


def test_a_little_stays_while_something_comes_in(tmp_path: Path) -> None:
    """Where one file is too little to be in the way and two are not, the third ends both."""
    store = MemoryStore()
    for name in "abc":
        store.write(name, [os.urandom(SIZE)])
    with Life(tmp_path, store, quota_bytes=1 << 30) as life:
        life.fs._contents._kept = Kept(10, 4 * SIZE, SIZE)
        kept_after = []
        for name in "abc":
            life.kernel.read(name, backed=True)
            kept_after.append(life.fs._contents.kept)

    assert kept_after == [1, 2, 1]


def test_what_is_kept_goes_when_there_is_no_room(tmp_path: Path) -> None:
    """Where nothing can be evicted but what is kept, one file is read without the cache, no more."""
    store = MemoryStore()
    bodies = {name: os.urandom(SIZE) for name in "abcd"}
    for name, body in bodies.items():
        store.write(name, [body])
    with Life(tmp_path, store, quota_bytes=4 * SIZE) as life:
        life.fs._contents._kept = Kept(10, 4 * SIZE, 4 * SIZE)
        for name in "abc":
            life.kernel.read(name, backed=True)
        before = life.fs._contents.kept

        assert life.kernel.read("d") == bodies["d"]
        assert (before, life.fs._contents.kept) == (3, 0)
        assert life.fs.counters().without_cache == 1
        assert life.cache.clear() > 0


def test_a_kept_file_that_somebody_changed_is_fetched_again(mounted: Mounted) -> None:
    """Whoever writes to a cached file behind the mount's back is noticed by the next open."""
    put(mounted, "x", b"bytes of x")
    with mounted.kernel.open("x", backed=True) as file:
        assert file.opened.backing_fd is not None
        inode = os.fstat(file.opened.backing_fd).st_ino
    top = Path(mounted.fs._contents._cache.status().folder)
    (path,) = (one for one in top.rglob("*") if one.stat().st_ino == inode)

    path.write_bytes(b"lies, lies")

    assert mounted.kernel.read("x", backed=True) == b"bytes of x"
    assert mounted.fs.counters().cache_misses == 2


def test_a_changed_object_is_not_read_from_a_kept_file(mounted: Mounted) -> None:
    """After a refresh a reader gets the object's new bytes, and the kept file of the old is closed."""
    put(mounted, "x", b"older")
    assert mounted.kernel.read("x", backed=True) == b"older"
    put(mounted, "x", b"newer bytes")

    mounted.fs.refresh()

    assert mounted.fs._contents.kept == 0
    assert mounted.kernel.read("x", backed=True) == b"newer bytes"


def test_without_a_refresh_a_changed_object_is_seen_after_its_lifetime(
    mount_it: Callable[..., Mounted],
) -> None:
    """What the store says next about a name counts, whatever file is kept under it."""
    mounted = mount_it(attribute_seconds=0.0, name_seconds=0.0)
    put(mounted, "x", b"older")
    assert mounted.kernel.read("x", backed=True) == b"older"

    put(mounted, "x", b"newer bytes")

    assert mounted.kernel.read("x", backed=True) == b"newer bytes"


def test_a_file_written_here_is_not_read_from_a_kept_one(mounted: Mounted) -> None:
    """A writer of this mount replaces what the next reader gets, also of a file just closed."""
    put(mounted, "x", b"older")
    assert mounted.kernel.read("x", backed=True) == b"older"

    with mounted.kernel.open("x", WRITE, truncate=True) as file:
        file.write(b"newer bytes")

    assert mounted.kernel.read("x", backed=True) == stored(mounted, "x") == b"newer bytes"


def test_a_renamed_and_a_removed_file_keep_nothing_alive(mounted: Mounted) -> None:
    """A kept file is found under the name it was opened by, and never under one it had."""
    for name, body in (("x", b"first"), ("y", b"second")):
        put(mounted, name, body)
        mounted.kernel.read(name, backed=True)

    mounted.kernel.rename("x", "y")

    assert not mounted.kernel.exists("x")
    assert mounted.kernel.read("y", backed=True) == b"first"
    mounted.kernel.unlink("y")
    assert not mounted.kernel.exists("y")
    put(mounted, "y", b"third")
    mounted.fs.refresh()
    assert mounted.kernel.read("y", backed=True) == b"third"


def test_files_of_a_renamed_folder_are_read_under_their_new_keys(mounted: Mounted) -> None:
    """Keys follow a folder at once, however deep below it a name was looked up before."""
    put(mounted, "a/b/c/x", b"bytes")
    assert mounted.kernel.read("a/b/c/x", backed=True) == b"bytes"

    mounted.kernel.rename("a", "d")

    assert mounted.kernel.read("d/b/c/x", backed=True) == b"bytes"
    table = mounted.fs._tree.table
    assert table.key(table.at(mounted.kernel.look("d/b/c/x").inode)) == "d/b/c/x"
    assert not mounted.kernel.exists("a")


def test_stopping_leaves_nothing_open(tmp_path: Path) -> None:
    """After the stop no cached file is held, adapters were told, and no thread waits any more."""
    store = MemoryStore()
    store.write("x", [b"bytes"])
    told: list[Backing] = []
    with Life(tmp_path, store, quota_bytes=1 << 30) as life:
        with life.kernel.open("x", backed=True) as file:
            backing = file.opened.backing
            assert backing
            backing.at_end = told.append
        assert (life.fs._contents.kept, life.cache.status().in_use_files) == (1, 1)
        sweeper = life.fs._contents._sweeper
        assert sweeper

        life.fs.stop()

        sweeper.join(30)
        assert (sweeper.is_alive(), told) == (False, [backing])
        assert (life.fs._contents.kept, life.cache.status().in_use_files) == (0, 0)


def test_what_is_idle_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that nobody opens again is let go of by itself, and others may evict it then."""
    for module in (kept, contents):
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    store = MemoryStore()
    store.write("x", [b"bytes"])
    gone = threading.Event()
    with Life(tmp_path, store, quota_bytes=1 << 30) as life:
        with life.kernel.open("x", backed=True) as file:
            assert file.opened.backing
            file.opened.backing.at_end = lambda _backing: gone.set()

        assert gone.wait(30)
        until = time.monotonic() + 30
        while life.cache.status().in_use_files and time.monotonic() < until:
            threading.Event().wait(0.001)
        assert (life.fs._contents.kept, life.cache.clear() > 0) == (0, True)


def test_so_many_files_and_bytes_are_kept_and_no_more() -> None:
    """Newcomers are refused when there are two files or a hundred bytes; what leaves makes room."""
    by_number, by_bytes = Kept(2, 1000), Kept(10, 100)
    one, two, three = (_content(60) for _ in range(3))

    assert [by_number.takes(content, 0.0) for content in (one, two, three)] == [True, True, False]
    assert (by_number.gives(one), by_number.gives(one)) == (True, False)
    assert (by_number.takes(three, 1.0), len(by_number)) == (True, 2)
    assert [by_bytes.takes(content, 0.0) for content in (one, two)] == [True, False]
    by_bytes.close()
    assert by_bytes.gives(one)
    assert not by_bytes.takes(one, 0.0)


def test_who_is_idle_and_who_is_kept_too_long() -> None:
    """Idle is what was not opened for half a minute; a minute after it was found nothing is kept."""
    shelf = Kept(10, 1000)
    early, late, old, partial, broken = (_content(1) for _ in range(5))
    partial.cached = None
    broken.is_broken = True
    old.since = -FOUND_SECONDS - 1

    taken = [shelf.takes(content, 0.0) for content in (early, old, partial, broken)]
    assert shelf.takes(late, IDLE_SECONDS / 2)

    assert taken == [True, False, False, False]
    assert (shelf.idle(IDLE_SECONDS - 1), shelf.idle(IDLE_SECONDS)) == ([], [early])
    assert shelf.everything() == [early, late]


def test_the_bounds_are_parts_of_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of the quota and a quarter of the descriptors, or what is safe without knowing."""
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (1024, 4096))
    assert kept.bounds(6400) == (256, 800, 100)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (resource.RLIM_INFINITY,) * 2)
    assert kept.bounds(None) == (kept.MOST_FILES, kept.MOST_BYTES, 0)


def test_the_quota_is_that_of_the_cache(tmp_path: Path) -> None:
    """How much is kept follows from the quota of the cache that the mount was given."""
    with Life(tmp_path, MemoryStore(), quota_bytes=6400) as life:
        on_shelf = life.fs._contents._kept
        assert (on_shelf._most_bytes, on_shelf._quiet_bytes) == (800, 100)


def test_a_process_for_mounts_alone_may_hold_many_files() -> None:
    """Whatever it was started with, it asks for all it can use, and for no more than it may have."""
    code = (
        "import resource; from mount.fs.kept import allow_many_files;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}));"
        "allow_many_files(); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )

    told = [
        subprocess.run(
            [sys.executable, "-c", code.format(hard=hard)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for hard in (256, 4096)
    ]

    assert told == ["(256, 256)", "(4096, 4096)"]


class Life:
    """A file system over a cache of its own, stopped at the end."""

    def __init__(self, folder: Path, store: MemoryStore, *, quota_bytes: int) -> None:
        self.cache = NodeCache.open(folder / "cache", quota_bytes=quota_bytes, reserve_bytes=0)
        self.fs = StoreFileSystem(store, self.cache, MountView(), Spool.open(folder / "spool"))
        self.kernel = KernelInMiniature(self.fs)

    def __enter__(self) -> Self:
        self.fs.start(self.kernel)
        return self

    def __exit__(self, *_: object) -> None:
        self.kernel.forget_all()
        self.fs.stop()
        self.cache.close()


def _content(size: int) -> Content:
    content = Content("key", "version", size)
    held: CachedFile = HeldNothing()  # type: ignore[assignment]  # what is asked of it here
    content.cached, content.since = held, 0.0
    return content
