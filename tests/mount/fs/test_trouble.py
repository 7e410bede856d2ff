"""Stores that fail, objects that change, disks that are full."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from datastores.errors import AlreadyExists, PreconditionFailed, StoreError, Unavailable
from datastores.storage.memory import MemoryStore, MemoryStream
from mount.fs.contract import WouldWait
from mount.fs.errno import errno_for
from mount.fs.recovery import Outcome, recover
from mount.fs.spool import Spool
from tests.contracts.faulty_store import Fault
from tests.mount.fs.conftest import Mounted, MountIt, put, stored
from tests.mount.fs.kernel import BOTH, READ, WRITE

KIB, MIB = 1 << 10, 1 << 20
AWAY = Unavailable("memory", "x", "the test says so")


class FirstAheadFails(MemoryStore):
    """The first read that does not begin at the beginning fails."""

    has_failed = False

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> MemoryStream:
        if start and not self.has_failed:
            self.has_failed = True
            raise AWAY
        return super().read(key, start=start, length=length, version=version)


def test_upload_failure_is_an_error_at_close(mount_it: MountIt) -> None:
    """When the store is away at close, close raises, and the bytes can be recovered later."""
    mounted = mount_it(leaves_spool=True, stop_seconds=1.0)
    mounted.store.plan("write", Fault(error=AWAY), nth=range(1, 10))

    with pytest.raises(Unavailable):
        mounted.kernel.write("x", b"precious")
    mounted.fs.stop()

    found = recover(mounted.spool, mounted.store.inner)
    assert [(one.key, one.outcome, one.size) for one in found] == [("x", Outcome.STORED, 8)]
    assert stored(mounted, "x") == b"precious"
    assert list(mounted.spool.folder.iterdir()) == []


def test_file_that_failed_is_still_readable_and_closes_later(mounted: Mounted) -> None:
    """After a failed close the mount shows the file, and the next close stores it."""
    mounted.store.plan("write", Fault(error=AWAY))
    with pytest.raises(Unavailable):
        mounted.kernel.write("x", b"one")

    assert mounted.kernel.read("x") == b"one"
    with mounted.kernel.open("x", WRITE) as file:
        file.write(b"two", 3)

    assert stored(mounted, "x") == b"onetwo"


def test_files_of_living_mounts_are_not_recovered(mounted: Mounted) -> None:
    """Recovery leaves alone what a living mount is writing."""
    with mounted.kernel.open("x", WRITE, create=True) as file:
        file.write(b"half")

        assert recover(mounted.spool, mounted.store.inner) == []


def test_unclosed_file_of_a_dead_mount_is_named_and_not_stored(mounted: Mounted) -> None:
    """A file nobody closed is reported by recovery and stays where it is."""
    spool = Spool.open(mounted.spool.folder.parent / "dead")
    file = spool.begin()
    file.leave()

    found = recover(spool, mounted.store.inner)

    assert [(one.path, one.outcome) for one in found] == [(file.path, Outcome.UNFINISHED)]
    assert file.path.exists()


def test_recovery_does_not_overwrite_a_later_version(mount_it: MountIt) -> None:
    """A file whose object was changed since its upload failed is a conflict, and both stay."""
    mounted = mount_it(leaves_spool=True, stop_seconds=1.0)
    put(mounted, "x", b"old")
    mounted.store.plan("write", Fault(error=AWAY), nth=range(1, 10))
    with pytest.raises(Unavailable):
        mounted.kernel.append("x", b" and new")
    mounted.fs.stop()
    put(mounted, "x", b"somebody else's")

    found = recover(mounted.spool, mounted.store.inner)

    assert [one.outcome for one in found] == [Outcome.CONFLICT]
    assert (stored(mounted, "x"), found[0].path.exists()) == (b"somebody else's", True)


def test_recovery_completes_an_append_from_its_base(mount_it: MountIt) -> None:
    """What was not fetched before the crash is taken from the version the file began as."""
    mounted = mount_it(leaves_spool=True, stop_seconds=1.0, small_file_bytes=16, block_bytes=KIB)
    body = random.Random(2).randbytes(10 * KIB)
    put(mounted, "x", body)
    mounted.store.plan("commit", Fault(error=AWAY), nth=range(1, 10))
    with pytest.raises(Unavailable):
        mounted.kernel.append("x", b"more")
    mounted.fs.stop()

    found = recover(mounted.spool, mounted.store.inner)

    assert [one.outcome for one in found] == [Outcome.STORED]
    assert stored(mounted, "x") == body + b"more"


def test_object_changed_under_an_open_small_file(mounted: Mounted) -> None:
    """A small file that is replaced while it is open is read to its end as it was."""
    put(mounted, "x", b"old bytes")
    with mounted.kernel.open("x") as file:
        put(mounted, "x", b"NEW BYTES")
        mounted.fs.refresh()

        assert file.read(3) == b"old"
        assert mounted.kernel.read("x") == b"NEW BYTES"
        assert file.read(offset=4) == b"bytes"


@pytest.mark.parametrize("full_cache", [False, True])
def test_object_changed_under_an_open_large_file(mount_it: MountIt, *, full_cache: bool) -> None:
    """A large file replaced between two ranges gives ESTALE, never bytes of both versions."""
    mounted = mount_it(full_cache=full_cache, small_file_bytes=KIB, window_bytes=256 * KIB)
    put(mounted, "x", b"a" * (8 * MIB))
    with mounted.kernel.open("x") as file:
        assert file.read(4 * KIB, 0) == b"a" * (4 * KIB)
        put(mounted, "x", b"b" * (8 * MIB))

        with pytest.raises(PreconditionFailed) as stale:
            file.read(4 * KIB, 7 * MIB)
        assert errno_for(stale.value) == 116
        assert mounted.kernel.read("x") == b"b" * (8 * MIB)


def test_object_deleted_under_an_open_large_file(mount_it: MountIt) -> None:
    """A large file deleted by somebody else gives ESTALE, not a missing file, to its reader."""
    mounted = mount_it(small_file_bytes=KIB, window_bytes=256 * KIB)
    put(mounted, "x", b"a" * (8 * MIB))
    with mounted.kernel.open("x") as file:
        file.read(10)
        mounted.store.inner.delete("x")

        with pytest.raises(OSError, match="Stale"):
            file.read(10, 7 * MIB)


def test_names_looked_up_in_vain_are_told_to_the_kernel(mounted: Mounted) -> None:
    """After a refresh the kernel asks again for names that it knew not to exist."""
    put(mounted, "d/x", b"x")
    folder = mounted.kernel.stat("d").inode
    with pytest.raises(FileNotFoundError):
        mounted.kernel.stat("d/later")

    mounted.fs.refresh()
    mounted.fs.stop()

    assert (folder, b"later") in mounted.kernel.forgotten_names


def test_new_version_is_told_to_the_kernel(mounted: Mounted) -> None:
    """When a lookup finds another version, the kernel is told to drop what it has of the old."""
    put(mounted, "x", b"old")
    inode = mounted.kernel.stat("x").inode
    put(mounted, "x", b"newer")
    mounted.fs.refresh()

    attributes = mounted.kernel.stat("x")
    mounted.fs.stop()

    assert (attributes.size, attributes.inode) == (5, inode)
    assert mounted.kernel.forgotten_data == [inode]


def test_update_loses_to_somebody_elses_change(mount_it: MountIt) -> None:
    """An update of a version that is no longer there fails at close, and theirs survives."""
    mounted = mount_it(leaves_spool=True, stop_seconds=1.0)
    put(mounted, "x", b"version one")
    file = mounted.kernel.open("x", BOTH)
    file.write(b"V")
    put(mounted, "x", b"version two")

    with pytest.raises(PreconditionFailed):
        file.close()

    assert stored(mounted, "x") == mounted.kernel.read("x") == b"version two"


def test_exclusive_creation_loses_to_an_earlier_writer(mount_it: MountIt) -> None:
    """A file created with O_EXCL that somebody else stored meanwhile fails at close."""
    mounted = mount_it(leaves_spool=True, stop_seconds=1.0)
    file = mounted.kernel.open("lock", WRITE, create=True, exclusive=True)
    put(mounted, "lock", b"theirs")

    with pytest.raises(AlreadyExists):
        file.close()

    assert stored(mounted, "lock") == mounted.kernel.read("lock") == b"theirs"


def test_lost_answer_of_an_upload_is_no_error(mounted: Mounted) -> None:
    """When an update arrived and its answer was lost, the repeated close finds it done."""
    put(mounted, "x", b"one")
    mounted.store.plan("write", Fault(raises_after=AWAY))
    file = mounted.kernel.open("x", BOTH)
    file.write(b"two")
    with pytest.raises(Unavailable):
        file.flush()

    file.close()

    assert stored(mounted, "x") == b"two"


@pytest.mark.parametrize("size", [10, 100 * KIB, 3 * MIB])
def test_without_room_in_the_cache_everything_is_read(mount_it: MountIt, size: int) -> None:
    """A full disk makes the mount slower and never wrong."""
    mounted = mount_it(full_cache=True, small_file_bytes=64 * KIB)
    body = random.Random(size).randbytes(size)
    put(mounted, "x", body)

    with mounted.kernel.open("x") as file:
        assert file.opened.backing_fd is None
        assert file.read() == body

    assert mounted.fs.counters().without_cache > 0


def test_memory_without_a_cache_is_bounded(mount_it: MountIt) -> None:
    """Reading far more than the budget without a cache keeps less than the budget in memory."""
    budget = 4 * MIB
    mounted = mount_it(
        full_cache=True, memory_bytes=budget, part_bytes=512 * KIB, small_file_bytes=MIB
    )
    for number in range(12):
        put(mounted, f"{number}", bytes([number]) * MIB)
    files = [mounted.kernel.open(f"{number}") for number in range(12)]

    held = mounted.fs.counters().memory_bytes
    bodies = [file.read() for file in files]
    for file in files:
        file.close()

    assert held <= budget
    assert bodies == [bytes([number]) * MIB for number in range(12)]


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_truncated_stream_is_asked_for_again(mount_it: MountIt, size: int) -> None:
    """A body that ends early in silence is not taken for the file."""
    mounted = mount_it(small_file_bytes=64 * KIB)
    body = random.Random(size).randbytes(size)
    put(mounted, "x", body)
    mounted.store.plan("read", Fault(truncate_at=300))

    assert mounted.kernel.read("x") == body


def test_stream_that_always_ends_early_is_an_error(mounted: Mounted) -> None:
    """A file whose body never arrives whole cannot be opened, and is not in the cache."""
    put(mounted, "x", b"x" * 1000)
    mounted.store.plan("read", Fault(truncate_at=300), nth=(1, 2))

    with pytest.raises(Unavailable):
        mounted.kernel.open("x")

    assert mounted.kernel.read("x") == b"x" * 1000


def test_failed_read_ahead_is_not_the_readers_error(mount_it: MountIt) -> None:
    """A read-ahead that fails is fetched again when its bytes are asked for."""
    mounted = mount_it(FirstAheadFails(), small_file_bytes=64 * KIB, window_bytes=MIB)
    body = random.Random(6).randbytes(4 * MIB)
    put(mounted, "x", body)

    with mounted.kernel.open("x") as file:
        got = b"".join(file.read(64 * KIB, at) for at in range(0, len(body), 64 * KIB))

    assert (got, mounted.fs.counters().failed_ahead) == (body, 1)


def test_many_openers_of_one_file_send_one_get(mounted: Mounted) -> None:
    """Eight threads that open one cold file at the same moment cost one GET."""
    put(mounted, "x", b"x" * 1000)
    mounted.kernel.list()
    inode = mounted.kernel.look("x").inode
    gate = threading.Event()
    mounted.store.plan("read", Fault(stall=gate))

    def open_it(_: int) -> int:
        opened = mounted.fs.open(inode, READ, truncate=False, append=False, wait=True)
        return opened.handle

    with ThreadPoolExecutor(8) as pool:
        handles = pool.map(open_it, range(8))
        gate.set()
        opened = list(handles)
    for handle in opened:
        mounted.fs.release(handle)

    assert (mounted.store.count("read"), len(set(opened))) == (1, 8)


def test_refusing_to_wait_changes_nothing(mounted: Mounted) -> None:
    """A call that would wait raises without a request and without a lookup counted."""
    put(mounted, "x", b"1")
    calls: list[Callable[[], object]] = [
        lambda: mounted.fs.lookup(1, b"x", wait=False),
        lambda: mounted.fs.mkdir(1, b"d", 0o755, wait=False),
        lambda: mounted.fs.unlink(1, b"x", wait=False),
        lambda: mounted.fs.create(1, b"y", 0o644, WRITE, exclusive=True, wait=False),
    ]

    for call in calls:
        with pytest.raises(WouldWait):
            call()

    counts = mounted.fs.counters()
    assert (mounted.requests(), counts.lookups, counts.open_files) == (0, 0, 0)


def test_read_only_mount_refuses_every_change(mount_it: MountIt) -> None:
    """Nothing can be created, written, renamed or removed in a read-only mount."""
    mounted = mount_it(read_only=True)
    put(mounted, "x", b"1")
    kernel = mounted.kernel

    for change in (
        lambda: kernel.write("y", b""),
        lambda: kernel.open("x", WRITE),
        lambda: kernel.truncate("x", 0),
        lambda: kernel.unlink("x"),
        lambda: kernel.mkdir("d"),
        lambda: kernel.rename("x", "y"),
        lambda: kernel.symlink("x", "l"),
    ):
        with pytest.raises(OSError, match="Read-only") as refused:
            change()
        assert refused.value.errno == 30

    assert mounted.kernel.list() == ["x"]


def test_stop_flushes_what_is_open(mounted: Mounted) -> None:
    """Stopping a mount stores what was written into files that are still open."""
    file = mounted.kernel.open("x", WRITE, create=True)
    file.write(b"not yet closed")

    mounted.fs.stop()

    assert stored(mounted, "x") == b"not yet closed"


def test_stop_ends_in_time_with_a_dead_store(mount_it: MountIt) -> None:
    """Stopping with a store that never answers ends within its bound, and the bytes stay."""
    mounted = mount_it(leaves_spool=True, stop_seconds=0.3)
    gate = threading.Event()
    mounted.store.plan("write", Fault(stall=gate, error=AWAY), nth=range(1, 5))
    file = mounted.kernel.open("x", WRITE, create=True)
    file.write(b"kept")

    mounted.fs.stop()
    gate.set()

    assert [path.read_bytes() for path in mounted.spool.folder.glob("*.data")] == [b"kept"]


def test_two_folders_renamed_into_each_other_do_not_hang(mounted: Mounted) -> None:
    """Renames of overlapping places happen one after the other, and every file survives."""
    kernel = mounted.kernel
    for number in range(8):
        put(mounted, f"d{number}/x", bytes([number]))
    kernel.list()
    inodes = {number: kernel.look(f"d{number}").inode for number in range(8)}

    def swap(number: int) -> None:
        mounted.fs.rename(
            1, b"d%d" % number, inodes[(number + 1) % 8], b"in", replace=True, wait=True
        )

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(swap, number) for number in range(8)]
    errors = [result.exception() for result in results if result.exception()]

    assert all(isinstance(error, (OSError, StoreError)) for error in errors)
    keys = [i.key for page in mounted.store.inner.list() for i in page.objects]
    assert len([key for key in keys if key.endswith("/x")]) == 8
