"""What things cost, in requests and bytes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from datastores.storage.contract import ObjectInfo
from datastores.storage.memory import MemoryStore, MemoryStream
from mount.cache.partial_file import FillingFile
from mount.fs import asking
from mount.fs.contract import Kind
from tests.mount.fs.conftest import Mounted, MountIt, put, stored
from tests.mount.fs.kernel import BOTH, WRITE

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Endless(MemoryStore):
    """One object of a gibibyte whose bytes are made when they are read."""

    asked: list[tuple[int, int]]

    def stat(self, key: str) -> ObjectInfo:
        if key != "huge":
            return super().stat(key)
        return ObjectInfo("huge", GIB, 1, "v1")

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> MemoryStream:
        if key != "huge":
            return super().read(key, start=start, length=length, version=version)
        end = GIB if length is None else min(GIB, start + length)
        self.asked.append((start, end))
        return MemoryStream(self.stat(key), pattern(start, end), 256 * KIB)


def pattern(start: int, end: int) -> bytes:
    """The bytes of the endless object: every eight of them say where they are."""
    first = start - start % 8
    whole = b"".join(at.to_bytes(8, "little") for at in range(first, end, 8))
    return whole[start - first : end - first]


def endless() -> Endless:
    store = Endless()
    store.asked = []
    return store


def test_cold_small_file_is_one_get(mounted: Mounted) -> None:
    """Reading a listed small file for the first time sends one GET and nothing else."""
    put(mounted, "x", b"hello")
    mounted.kernel.list()
    before = len(mounted.store.calls)

    assert mounted.kernel.read("x", backed=True) == b"hello"

    assert mounted.store.calls[before:] == [("read", "x")]


def test_second_open_is_no_request(mounted: Mounted) -> None:
    """A file that was read once is opened and read again without the store, from a local file."""
    put(mounted, "x", b"hello")
    mounted.kernel.read("x")
    before = mounted.requests()

    with mounted.kernel.open("x") as file:
        assert file.opened.backing_fd is not None
        assert file.read() == b"hello"

    assert mounted.requests() == before


def test_listing_answers_the_stats_after_it(mounted: Mounted) -> None:
    """A stat of every entry of a listed folder sends nothing."""
    for number in range(500):
        put(mounted, f"d/{number:03}", b"x" * number)
    names = mounted.kernel.list("d")
    before = mounted.requests()

    sizes = [mounted.kernel.stat(f"d/{name}").size for name in names]

    assert (sizes, mounted.requests()) == (list(range(500)), before)


def test_second_listing_within_its_lifetime_answers_absent_names(mounted: Mounted) -> None:
    """A name that a whole listing did not show does not exist, without asking."""
    put(mounted, "d/a", b"")
    mounted.kernel.list("d")
    before = mounted.requests()

    assert [mounted.kernel.exists(f"d/{name}") for name in "abc"] == [True, False, False]

    assert mounted.requests() == before


def test_names_asked_one_by_one_are_answered_by_one_listing(mounted: Mounted) -> None:
    """A search for many names in a small folder costs a handful of requests, not one for each."""
    for number in range(50):
        put(mounted, f"d/{number}", b"")

    found = [mounted.kernel.exists(f"d/{number}") for number in range(100)]

    assert found == [True] * 50 + [False] * 50
    assert mounted.requests() < 10


def test_a_large_folder_is_listed_on_while_its_names_are_asked_for(
    mount_it: MountIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at all names of many pages in no order does so with a fraction of the requests."""
    monkeypatch.setattr(asking, "QUESTIONS_A_PAGE", 20)
    mounted = mount_it(MemoryStore(page_size=100))
    sizes = {f"{number:04}": number % 7 for number in range(3000)}
    for name, size in sizes.items():
        put(mounted, f"d/{name}", bytes(size))
    names = random.Random(1).sample(sorted(sizes), len(sizes))

    found = {name: mounted.kernel.stat(f"d/{name}").size for name in names}

    assert found == sizes
    assert mounted.requests() < 700
    before = mounted.requests()
    assert {name: mounted.kernel.stat(f"d/{name}").size for name in names} == sizes
    assert mounted.requests() == before


def test_few_names_of_a_large_folder_are_asked_for_one_by_one(mount_it: MountIt) -> None:
    """A look at some names of many pages lists two of them at most."""
    mounted = mount_it(MemoryStore(page_size=100))
    for number in range(1000):
        put(mounted, f"d/{number:04}", b"x")

    assert all(mounted.kernel.exists(f"d/{number:04}") for number in range(990, 930, -1))
    assert mounted.requests() <= 60 + 2 + 2


def test_what_changes_while_a_large_folder_is_listed_is_seen(
    mount_it: MountIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that came or went between two pages, here or elsewhere, are there or not."""
    monkeypatch.setattr(asking, "QUESTIONS_A_PAGE", 10)
    mounted = mount_it(MemoryStore(page_size=50), absent_seconds=0.0)
    for number in range(500):
        put(mounted, f"d/{number:04}", b"x")
    for number in range(499, 300, -1):
        mounted.kernel.stat(f"d/{number:04}")

    put(mounted, "d/0000new", b"theirs")
    mounted.kernel.unlink("d/0400")
    mounted.kernel.write("d/0401", b"longer")
    mounted.kernel.rename("d/0402", "d/moved")
    for number in range(200, 290):
        mounted.kernel.stat(f"d/{number:04}")

    names = ("0000new", "0400", "0401", "0402", "moved")
    assert [mounted.kernel.exists(f"d/{name}") for name in names] == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert mounted.kernel.stat("d/0401").size == 6


def test_random_reads_of_a_huge_file_fetch_little(mount_it: MountIt) -> None:
    """A random read of 4 KiB in a gibibyte fetches at most 512 KiB."""
    store = endless()
    mounted = mount_it(store)
    put(mounted, "other", b"")
    rng = random.Random(3)
    offsets = [rng.randrange(MIB, GIB - MIB) for _ in range(50)]

    with mounted.kernel.open("huge") as file:
        for offset in offsets:
            assert file.read(4 * KIB, offset) == pattern(offset, offset + 4 * KIB)

    assert sum(end - start for start, end in store.asked) <= 50 * 512 * KIB
    assert mounted.fs.counters().bytes_ahead == 0


def test_a_read_does_not_look_at_every_block_of_a_huge_file(
    mount_it: MountIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a gibibyte is complete is seldom asked of all its blocks, however it is read."""
    looks: list[int] = []
    missing = FillingFile.missing

    def noting(file: FillingFile, start: int, length: int) -> Sequence[tuple[int, int]]:
        looks.append(length)
        return missing(file, start, length)

    monkeypatch.setattr(FillingFile, "missing", noting)
    mounted = mount_it(endless())
    rng = random.Random(3)
    with mounted.kernel.open("huge") as file:
        for _ in range(100):
            file.read(4 * KIB, rng.randrange(MIB, GIB - MIB))
        for offset in range(0, 64 * MIB, MIB):
            file.read(4 * KIB, offset)

    assert 0 < looks.count(GIB) <= 4


def test_sequential_reader_sends_large_requests(mount_it: MountIt) -> None:
    """Reading 128 MiB in order takes few requests, none wasted and each byte fetched once."""
    store = endless()
    mounted = mount_it(store, window_bytes=16 * MIB)

    with mounted.kernel.open("huge") as file:
        for at in range(0, 128 * MIB, MIB):
            assert file.read(16, at) == pattern(at, at + 16)
            assert len(file.read(MIB, at)) == MIB

    asked = sorted(store.asked)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(asked))
    assert len(asked) < 60


def test_large_file_is_backed_at_the_next_open(mount_it: MountIt) -> None:
    """A large file read to its end is complete in the cache and handed to the kernel next time."""
    mounted = mount_it(small_file_bytes=64 * KIB)
    body = random.Random(1).randbytes(5 * MIB + 17)
    put(mounted, "big", body)

    with mounted.kernel.open("big") as cold:
        assert cold.opened.backing_fd is None
        assert cold.read() == body
    before = mounted.requests()

    assert mounted.kernel.read("big", backed=True) == body
    assert mounted.requests() == before
    assert mounted.fs.counters().backed_opens == 1


def test_kernel_keeps_its_pages_while_the_version_is_the_same(mounted: Mounted) -> None:
    """The second open of one version lets the kernel keep what it has; of another it does not."""
    put(mounted, "x", b"one")
    kept = []
    for body in (None, None, b"two"):
        if body:
            put(mounted, "x", body)
            mounted.fs.refresh()
        with mounted.kernel.open("x") as file:
            kept.append(file.opened.keep_cache)

    assert kept == [False, True, False]


def test_small_new_file_is_one_write(mounted: Mounted) -> None:
    """Creating a file in a listed folder and closing it sends one write and nothing else."""
    mounted.kernel.list()
    before = len(mounted.store.calls)

    mounted.kernel.write("new", b"x" * 1000)

    assert mounted.store.calls[before:] == [("write", "new")]


def test_written_file_is_read_back_without_a_request(mounted: Mounted) -> None:
    """What this mount wrote is in the cache: reading it back sends nothing, and it is backed."""
    mounted.kernel.write("new", b"x" * 1000)
    before = mounted.requests()

    assert mounted.kernel.read("new", backed=True) == b"x" * 1000

    assert mounted.requests() == before


def test_temporary_file_renamed_while_open_is_stored_once(mounted: Mounted) -> None:
    """A file renamed before it is closed is uploaded once, under its final name."""
    kernel = mounted.kernel
    with kernel.open("model.tmp", WRITE, create=True) as file:
        file.write(b"weights")
        kernel.rename("model.tmp", "model")

    assert [call for call in mounted.store.calls if call[0] in ("write", "rename", "delete")] == [
        ("write", "model")
    ]
    assert (stored(mounted, "model"), kernel.exists("model.tmp")) == (b"weights", False)


def test_temporary_file_renamed_after_close_is_sent_once(mounted: Mounted) -> None:
    """A temporary file that was closed is durable, and its rename sends no bytes again."""
    kernel = mounted.kernel
    kernel.write("model.tmp", b"weights")
    kernel.rename("model.tmp", "model")

    assert mounted.fs.counters().bytes_sent == len(b"weights")
    assert stored(mounted, "model") == b"weights"
    assert mounted.store.count("write") == 1


def test_append_sends_only_the_blocks_that_changed(mount_it: MountIt) -> None:
    """Appending to a file of many blocks sends no more than two blocks again."""
    mounted = mount_it(block_bytes=64 * KIB)
    body = random.Random(5).randbytes(20 * 64 * KIB + 100)
    mounted.kernel.write("log", body)
    before = mounted.fs.counters()

    mounted.kernel.append("log", b"one line more")

    after = mounted.fs.counters()
    assert stored(mounted, "log") == body + b"one line more"
    assert after.bytes_sent - before.bytes_sent <= 2 * 64 * KIB
    assert after.blocks_reused - before.blocks_reused == 20


def test_change_in_the_middle_sends_one_block(mount_it: MountIt) -> None:
    """Bytes written over a file of many blocks send the block they lie in."""
    mounted = mount_it(block_bytes=64 * KIB)
    body = bytearray(random.Random(5).randbytes(20 * 64 * KIB))
    mounted.kernel.write("table", bytes(body))
    before = mounted.fs.counters().bytes_sent

    with mounted.kernel.open("table", BOTH) as file:
        file.write(b"changed", 10 * 64 * KIB + 5)
    body[10 * 64 * KIB + 5 : 10 * 64 * KIB + 12] = b"changed"

    assert stored(mounted, "table") == bytes(body)
    assert mounted.fs.counters().bytes_sent - before == 64 * KIB


def test_streamed_file_takes_bounded_disk(mount_it: MountIt) -> None:
    """A large file written in order is sent while it grows, and keeps little on the disk."""
    mounted = mount_it(block_bytes=MIB, spool_bytes=4 * MIB)
    rng = random.Random(9)
    body = rng.randbytes(40 * MIB)
    most = 0

    with mounted.kernel.open("big", WRITE, create=True) as file:
        for at in range(0, len(body), MIB):
            file.write(body[at : at + MIB], at)
            most = max(most, spooled(mounted.spool.folder))
        sent_before_close = mounted.store.count("stage")

    assert stored(mounted, "big") == body
    assert sent_before_close >= 30
    assert most <= 16 * MIB


def test_header_written_last_into_a_streamed_file(mount_it: MountIt) -> None:
    """Bytes written back at the beginning and the middle of a streamed file arrive."""
    mounted = mount_it(block_bytes=MIB, spool_bytes=2 * MIB)
    body = bytearray(random.Random(10).randbytes(20 * MIB))

    with mounted.kernel.open("big", BOTH, create=True) as file:
        for at in range(0, len(body), MIB):
            file.write(bytes(body[at : at + MIB]), at)
        file.write(b"header", 0)
        file.write(b"middle", 9 * MIB - 3)
        body[0:6] = b"header"
        body[9 * MIB - 3 : 9 * MIB + 3] = b"middle"
        assert file.read(64, 9 * MIB - 20) == bytes(body[9 * MIB - 20 : 9 * MIB + 44])

    assert stored(mounted, "big") == bytes(body)


def test_million_entries_list_in_order_and_start_at_once(mount_it: MountIt) -> None:
    """A folder of many pages starts after one page, comes in order, and is not kept."""
    store = MemoryStore(page_size=500)
    for number in range(20_000):
        store.write(f"flat/{number:06}", b"")
    mounted = mount_it(store, facts=1000)
    kernel = mounted.kernel

    with kernel.folder("flat") as handle:
        before = mounted.requests()
        first = kernel.page(handle, 0, 100)
        assert mounted.requests() - before == 1
        names, cookie, most = [child.name for child in first], first[-1].cookie, 0
        while some := kernel.page(handle, cookie, 100):
            names += [child.name for child in some]
            cookie = some[-1].cookie
            most = max(most, mounted.fs.counters().inodes)

    assert names == [f"{number:06}".encode() for number in range(20_000)]
    assert most <= 700


def test_listing_continues_from_an_earlier_cookie(mount_it: MountIt) -> None:
    """A listing that is taken up again further back shows the same children."""
    store = MemoryStore(page_size=3)
    for number in range(10):
        store.write(f"d/{number}", b"")
    kernel = mount_it(store).kernel

    with kernel.folder("d") as handle:
        first = kernel.page(handle, 0, 4)
        again = kernel.page(handle, first[1].cookie, 4)
        kernel.page(handle, first[3].cookie, 4)
        back = kernel.page(handle, first[1].cookie, 4)

    assert [child.name for child in again] == [b"2", b"3", b"4", b"5"]
    assert [(c.inode, c.cookie) for c in back] == [(c.inode, c.cookie) for c in again]


def test_names_that_hurt_are_left_out_or_shown_once(mounted: Mounted) -> None:
    """A file hides the folder of its name, and names no file can have are counted, not shown."""
    for key in ("a", "a/b", "a-c", "x//y", "d/../e", "l" * 300, "new\nline", "ü"):
        put(mounted, key, b"1")

    assert mounted.kernel.list() == ["a", "a-c", "d", "new\nline", "x", "ü"]
    assert mounted.kernel.list("x") == []
    assert mounted.kernel.stat("a").kind is Kind.FILE
    assert mounted.fs.counters().hidden_names == 3


def spooled(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("*.data"))
