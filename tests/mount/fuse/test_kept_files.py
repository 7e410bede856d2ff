"""Files that the kernel goes on knowing after their last close."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from datastores.storage.memory import MemoryStore
from mount.cache.contract import CacheKey
from mount.cache.node_cache import NodeCache
from mount.fs.file_system import StoreFileSystem
from mount.fs.spool import Spool
from mount.fs.view import MountView
from mount.fuse import layouts
from mount.fuse.journal import MemoryJournal
from mount.fuse.layouts import Op
from mount.fuse.mounted import Mounted, mount
from mount.fuse.options import MountOptions
from mount.fuse.passthrough import Passthrough

SMALL, LARGE = b"bytes of a small file", os.urandom(8 << 20)


@dataclass(frozen=True, slots=True)
class Place:
    """A mounted store and what is behind it."""

    path: Path
    store: MemoryStore
    files: StoreFileSystem
    cache: NodeCache
    mounted: Mounted


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path) -> Iterator[Place]:
    """A store with a small and a large object."""
    store = MemoryStore()
    store.write("small", [SMALL])
    store.write("large", [LARGE])
    cache = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    view = MountView(owner=os.getuid(), group=os.getgid())
    files = StoreFileSystem(store, cache, view, Spool.open(tmp_path / "spool"))
    path = tmp_path / "place"
    path.mkdir()
    with mount(files, str(path), options=MountOptions()) as mounted:
        yield Place(path, store, files, cache, mounted)
    assert cache.status().in_use_files == 0
    cache.close()


def test_a_warm_open_and_close_is_two_requests(place: Place) -> None:
    """Reading a file once more costs one OPEN and one RELEASE, and no second registration."""
    fd = os.open(place.path / "small", os.O_RDONLY)
    os.close(fd)
    _until(lambda: place.mounted.modes.modes() == {})
    before = place.mounted.figures.by_op

    fd = os.open(place.path / "small", os.O_RDONLY)
    data = os.read(fd, 100)
    os.close(fd)
    _until(lambda: place.mounted.modes.modes() == {})

    after = place.mounted.figures.by_op
    asked = {op: n - before.get(op, 0) for op, n in after.items() if n != before.get(op, 0)}
    assert (data, asked) == (SMALL, {Op.OPEN: 1, Op.RELEASE: 1})
    assert (place.mounted.modes.registered, place.mounted.figures.backed_opens) == (1, 2)


def test_the_kernel_forgets_a_file_that_is_no_longer_kept(place: Place) -> None:
    """When the file system lets go, so does the kernel, and the cache can evict the file."""
    assert (place.path / "small").read_bytes() == SMALL
    _until(lambda: place.mounted.modes.modes() == {})
    assert (place.mounted.modes.registered, place.cache.clear()) == (1, 0)

    place.files.refresh()

    assert place.mounted.modes.registered == 0
    assert place.cache.clear() > 0
    assert (place.path / "small").read_bytes() == SMALL


def test_an_open_file_outlives_what_is_kept(place: Place) -> None:
    """Who has a file open reads on when kept files go, and the file goes with the last of them."""
    with (place.path / "small").open("rb", buffering=0) as file:
        place.files.refresh()

        assert (file.read(), place.mounted.modes.registered) == (SMALL, 1)
    _until(lambda: place.mounted.modes.modes() == {})
    place.files.refresh()
    assert place.mounted.modes.registered == 0


def test_a_writer_after_a_kept_reader_writes_to_the_file_system(place: Place) -> None:
    """A kept file stays as it was when its object is written, and the next reader gets the new."""
    assert (place.path / "small").read_bytes() == SMALL

    (place.path / "small").write_bytes(b"written")

    assert (place.path / "small").read_bytes() == b"written"
    with place.store.read("small") as stream:
        assert b"".join(bytes(piece) for piece in stream) == b"written"


def test_pages_of_a_file_that_became_complete_are_dropped_at_its_close(place: Place) -> None:
    """A large file is read from the disk the second time, and its pages do not wait for that."""
    with (place.path / "large").open("rb", buffering=0) as file:
        assert file.read() == LARGE
        # The reader may have the last bytes before the cache has.
        _until(lambda: _is_cached(place, "large"))
    _until(lambda: place.mounted.modes.modes() == {})
    _until(lambda: place.mounted.notifier.sent == 1)
    reads = place.mounted.figures.by_op[Op.READ]

    assert (place.path / "large").read_bytes() == LARGE
    assert place.mounted.figures.by_op[Op.READ] == reads
    _until(lambda: place.mounted.modes.modes() == {})
    assert place.mounted.notifier.settle(30)
    assert place.mounted.notifier.sent == 1


def test_the_next_server_forgets_what_only_the_last_one_kept(place: Place) -> None:
    """A file in the notes that no handle reads is given back; one that a handle reads stays."""
    fd = os.memfd_create("notes")
    try:
        journal = MemoryJournal(fd)
        with (place.path / "small").open("rb"):
            (mode,) = place.mounted.modes.modes().values()
            assert mode.backing_id is not None
            journal.registered(mode.backing_id)
            notes = MemoryJournal(fd).load()

            modes = Passthrough(place.mounted.session.fd, journal, enabled=True)
            modes.resume([], {}, notes.registered)

            request = layouts.BACKING_ID.pack(mode.backing_id)
            with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
                fcntl.ioctl(place.mounted.session.fd, layouts.BACKING_CLOSE, request)
        assert (list(notes.registered), modes.registered) == ([mode.backing_id], 0)
        assert list(MemoryJournal(fd).load().registered) == []
    finally:
        os.close(fd)


def test_notes_grow_and_shrink_with_what_is_noted() -> None:
    """Twenty thousand registrations are noted beyond the first mapping, and all but one are dropped."""
    fd = os.memfd_create("notes")
    try:
        journal = MemoryJournal(fd)
        for number in range(20_000):
            journal.registered(number)
        for number in range(1, 20_000):
            journal.unregistered(number)
        journal.unregistered(1)

        assert list(MemoryJournal(fd).load().registered) == [0]
    finally:
        os.close(fd)


def _is_cached(place: Place, name: str) -> bool:
    info = place.store.stat(name)
    assert info.version
    found = place.cache.find(CacheKey(place.store.identity, name, info.version, info.size))
    if found:
        found.close()
    return found is not None


def _until(reached: object) -> None:
    assert callable(reached)
    deadline = time.monotonic() + 30
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert reached()
