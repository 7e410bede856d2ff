"""One process, one folder, nothing goes wrong."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from mount.cache.contract import CacheKey, CacheStatus, NoRoom
from mount.cache.layout import SMALLEST_BLOCK_BYTES, charge, overhead
from mount.cache.node_cache import NodeCache
from mount.cache.room import Limits
from tests.mount.cache.content import content, key_for, whole

BLOCK = SMALLEST_BLOCK_BYTES
SIZES = [0, 1, 4096, 100 * 1024, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]
# No rounding of recency and no pause after a refusal, so that outcomes follow from the steps.
EXACT = Limits(0, 0, touch_seconds=0.0, refuse_seconds=0.0)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[NodeCache]:
    with_room = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    yield with_room
    with_room.close()


@pytest.mark.parametrize("size", SIZES)
def test_put_then_found_by_another_handle(cache: NodeCache, tmp_path: Path, size: int) -> None:
    """What one handle puts, another on the same folder finds, byte for byte."""
    key = key_for(1, size)
    other = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)

    put = whole(cache.put(key, content(key)))
    found = other.find(key)

    assert found is not None
    assert (put, whole(found)) == (content(key), content(key))
    other.close()


@pytest.mark.parametrize("size", SIZES)
def test_filled_in_any_order_becomes_complete(cache: NodeCache, size: int) -> None:
    """Blocks written last to first, one write per block, make the file, and finishing is twice fine."""
    key = key_for(1, size)
    filling = cache.fill(key)

    for start in reversed(range(0, size, BLOCK)):
        assert filling.missing(start, 1) != []
        filling.write(start, content(key)[start : start + BLOCK])
    first, second = filling.finish(), filling.finish()
    filling.close()

    assert first is not None
    assert second is not None
    assert (whole(first), whole(second)) == (content(key), content(key))


def test_incomplete_file_is_not_found_and_not_finished(cache: NodeCache) -> None:
    """One missing block keeps a file from being complete."""
    key = key_for(1, 3 * BLOCK)
    filling = cache.fill(key)
    filling.write(0, content(key)[:BLOCK])
    filling.write(2 * BLOCK, content(key)[2 * BLOCK :])

    outcome = (cache.find(key), filling.finish(), filling.missing(0, 3 * BLOCK))
    filling.close()

    assert outcome == (None, None, [(BLOCK, BLOCK)])


def test_missing_is_on_block_borders_and_covers(cache: NodeCache) -> None:
    """A question inside a block is answered by the whole block, the last one cut at the end."""
    key = key_for(1, 2 * BLOCK + 10)
    filling = cache.fill(key)

    answers = [
        filling.missing(5, 1),
        filling.missing(BLOCK - 1, 2),
        filling.missing(2 * BLOCK, 99),
        filling.missing(5 * BLOCK, 1),
        filling.missing(3, 0),
    ]
    filling.close()

    assert answers == [[(0, BLOCK)], [(0, 2 * BLOCK)], [(2 * BLOCK, 10)], [], []]


def test_only_whole_blocks_count(cache: NodeCache) -> None:
    """A write that ends inside a block leaves that block missing."""
    key = key_for(1, 2 * BLOCK)
    filling = cache.fill(key)

    filling.write(0, content(key)[: BLOCK + 1])
    answer = filling.missing(0, 2 * BLOCK), filling.read(0, BLOCK), filling.read(BLOCK, 1)
    filling.close()

    assert answer == ([(BLOCK, BLOCK)], content(key)[:BLOCK], None)


@pytest.mark.parametrize("cuts", [[1, 2], [2, 4], [0.5, 1, 3.25], [3]])
def test_pieces_that_follow_each_other_are_one_write(
    cache: NodeCache, cuts: Sequence[float]
) -> None:
    """Pieces of any lengths leave what their sum would, around a block that was there before."""
    key = key_for(1, 4 * BLOCK + 9)
    body = content(key)
    borders = [0, *(int(cut * BLOCK) for cut in cuts), key.size]
    filling = cache.fill(key)
    filling.write(2 * BLOCK, body[2 * BLOCK : 3 * BLOCK])
    before = cache.status().partial_bytes

    filling.write(0, *(body[start:end] for start, end in pairwise(borders)))
    after = cache.status().partial_bytes
    complete = filling.finish()
    filling.close()

    assert after - before == 3 * BLOCK + 4096
    assert complete is not None
    assert whole(complete) == body


def test_pieces_that_begin_and_end_inside_blocks(cache: NodeCache) -> None:
    """Of pieces that begin in one block and end in another only the whole blocks between count."""
    key = key_for(1, 4 * BLOCK)
    body = content(key)
    filling = cache.fill(key)

    filling.write(10, body[10:BLOCK], body[BLOCK : 3 * BLOCK], body[3 * BLOCK : 4 * BLOCK - 1])
    answer = filling.missing(0, key.size), filling.read(BLOCK, 2 * BLOCK)
    filling.write(5)
    filling.close()

    assert answer == ([(0, BLOCK), (3 * BLOCK, BLOCK)], body[BLOCK : 3 * BLOCK])


def test_two_fillers_see_each_others_blocks(cache: NodeCache, tmp_path: Path) -> None:
    """A block that one process wrote is neither missing nor unread for the other."""
    key = key_for(1, 2 * BLOCK)
    other = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    here, there = cache.fill(key), other.fill(key)

    here.write(0, content(key)[:BLOCK])
    seen = there.missing(0, 2 * BLOCK), there.read(10, 100)
    there.write(BLOCK, content(key)[BLOCK:])
    finished = here.finish()
    again = there.finish()
    for one in (here, there, other):
        one.close()

    assert finished is not None
    assert again is not None
    assert seen == ([(BLOCK, BLOCK)], content(key)[10:110])
    assert (whole(finished), whole(again)) == (content(key), content(key))


def test_late_writer_changes_nothing(cache: NodeCache) -> None:
    """A filler that writes after the file became complete changes neither bytes nor proof."""
    key = key_for(1, 2 * BLOCK)
    late, quick = cache.fill(key), cache.fill(key)
    quick.write(0, content(key))
    finished = quick.finish()
    assert finished is not None
    before = os.fstat(finished.fd).st_mtime_ns

    late.write(0, bytes(2 * BLOCK))

    after = os.fstat(finished.fd).st_mtime_ns, late.read(0, 2 * BLOCK)
    late.close()
    quick.close()
    assert (*after, whole(finished)) == (before, content(key), content(key))


def test_versions_do_not_mix(cache: NodeCache) -> None:
    """Two versions, two stores and two sizes of one key are four files."""
    first = key_for(1, 100)
    keys = [first, replace(first, version="v2"), replace(first, store="other"), key_for(1, 99)]

    for key in keys:
        cache.put(key, content(key)).close()
    found = [cache.find(key) for key in keys]

    assert [whole(held) for held in found if held] == [content(key) for key in keys]


def test_names_cannot_be_glued_together(cache: NodeCache) -> None:
    """A key's end moved to its version's beginning is another file."""
    cache.put(CacheKey("s", "ab", "c", 3), b"one").close()

    assert cache.find(CacheKey("s", "a", "bc", 3)) is None


def test_bytes_of_another_length_are_refused(cache: NodeCache) -> None:
    """What is not as long as the version says does not enter."""
    with pytest.raises(NoRoom, match="not 2"):
        cache.put(key_for(1, 3), b"ab")

    assert cache.status().files == 0


def test_forgotten_file_is_read_on_by_its_holder(cache: NodeCache) -> None:
    """`forget` takes a file from those who come, not from those who have it."""
    key = key_for(1, 1000)
    held = cache.put(key, content(key))

    cache.forget(key)

    assert cache.find(key) is None
    assert whole(held) == content(key)
    assert cache.status().bytes == 0


def test_forgotten_partial_file_is_begun_anew(cache: NodeCache) -> None:
    """Blocks of a forgotten file are gone for those who come, and its old filler does no harm."""
    key = key_for(1, 2 * BLOCK)
    old = cache.fill(key)
    old.write(0, content(key)[:BLOCK])

    cache.forget(key)
    new = cache.fill(key)
    old.write(BLOCK, content(key)[BLOCK:])
    answer = new.missing(0, 2 * BLOCK), old.read(0, BLOCK), old.finish()
    old.close()
    new.close()

    assert answer == ([(0, 2 * BLOCK)], content(key)[:BLOCK], None)


def test_adopted_copy_does_not_follow_its_source(cache: NodeCache, tmp_path: Path) -> None:
    """A change to the adopted file through its own name does not reach the cached bytes."""
    key = key_for(1, BLOCK + 5)
    source = tmp_path / "download.bin"
    source.write_bytes(content(key))

    held = cache.adopt(key, str(source))
    source.write_bytes(b"overwritten by its owner")

    assert whole(held) == content(key)


def test_given_file_is_linked(cache: NodeCache, tmp_path: Path) -> None:
    """A file that is given away becomes the cached one without a copy."""
    key = key_for(1, BLOCK + 5)
    source = tmp_path / "upload.bin"
    source.write_bytes(content(key))

    held = cache.adopt(key, str(source), given=True)

    assert os.fstat(held.fd).st_ino == source.stat().st_ino
    assert whole(held) == content(key)


def test_given_file_with_a_writer_is_copied(cache: NodeCache, tmp_path: Path) -> None:
    """A file that somebody still has open for writing is not trusted to stay as it is."""
    key = key_for(1, 5000)
    source = tmp_path / "upload.bin"
    source.write_bytes(content(key))

    with source.open("r+b") as writer:
        held = cache.adopt(key, str(source), given=True)
        writer.write(b"late")

    assert whole(held) == content(key)


def test_file_changed_through_a_second_name_is_dropped(cache: NodeCache, tmp_path: Path) -> None:
    """A cached file that was written to through a hard link is not served again."""
    key = key_for(1, 5000)
    source = tmp_path / "upload.bin"
    source.write_bytes(content(key))
    cache.adopt(key, str(source), given=True).close()

    with source.open("r+b") as writer:
        writer.write(b"changed")

    assert cache.find(key) is None
    assert cache.status().files == 0


def test_adopting_what_is_not_there_is_no_room(cache: NodeCache, tmp_path: Path) -> None:
    """A missing or wrong source is refused without an error of the system."""
    (tmp_path / "short").write_bytes(b"ab")

    for name in ("missing", "short"):
        with pytest.raises(NoRoom):
            cache.adopt(key_for(1, 3), str(tmp_path / name))
    assert cache.status().files == 0


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    """With room for three, the fourth file pushes out the one that was found longest ago."""
    now = [10**18]
    size = 1 << 20
    cache = NodeCache.open(
        tmp_path, quota_bytes=3 * charge(size), reserve_bytes=0, clock=lambda: now[0], limits=EXACT
    )
    keys = [key_for(number, size) for number in range(4)]
    for key in keys[:3]:
        cache.put(key, content(key)).close()
        now[0] += 3600 * 10**9
    found = cache.find(keys[0])
    assert found is not None
    found.close()
    now[0] += 3600 * 10**9

    cache.put(keys[3], content(keys[3])).close()

    there = [is_there(cache, key) for key in keys]
    assert (there, cache.status().evictions) == ([True, False, True, True], 1)
    cache.close()


def is_there(cache: NodeCache, key: CacheKey) -> bool:
    held = cache.find(key)
    if held is not None:
        held.close()
    return held is not None


def test_held_files_are_not_evicted(tmp_path: Path) -> None:
    """With every file in use there is no room; once one is closed there is."""
    size = 1 << 20
    cache = NodeCache.open(tmp_path, quota_bytes=2 * charge(size), reserve_bytes=0, limits=EXACT)
    keys = [key_for(number, size) for number in range(3)]
    held = [cache.put(key, content(key)) for key in keys[:2]]

    with pytest.raises(NoRoom):
        cache.put(keys[2], content(keys[2]))
    in_use = cache.status().in_use_files
    assert whole(held[0]) == content(keys[0])
    cache.put(keys[2], content(keys[2])).close()

    assert in_use == 2
    assert cache.find(keys[0]) is None
    assert whole(held[1]) == content(keys[1])
    cache.close()


def test_clock_that_goes_back_keeps_the_cache_working(tmp_path: Path) -> None:
    """Files noted in what is now the future are served, and do not live for ever."""
    now = [2 * 10**18]
    size = 1 << 20
    cache = NodeCache.open(
        tmp_path, quota_bytes=2 * charge(size), reserve_bytes=0, clock=lambda: now[0], limits=EXACT
    )
    keys = [key_for(number, size) for number in range(4)]
    for key in keys[:2]:
        cache.put(key, content(key)).close()

    now[0] = 10**18
    found = cache.find(keys[1])
    assert found is not None
    assert whole(found) == content(keys[1])
    for key in keys[2:]:
        now[0] += 3600 * 10**9
        cache.put(key, content(key)).close()

    status = cache.status()
    assert (status.files, status.evictions) == (2, 2)
    cache.close()


def test_file_larger_than_the_quota_is_refused_at_once(tmp_path: Path) -> None:
    """A file that can never fit evicts nothing."""
    cache = NodeCache.open(tmp_path, quota_bytes=charge(1 << 20), reserve_bytes=0)
    small, large = key_for(1, 1000), key_for(2, 2 << 20)
    cache.put(small, content(small)).close()

    with pytest.raises(NoRoom):
        cache.put(large, content(large))

    assert (cache.status().files, cache.status().evictions) == (1, 0)
    cache.close()


def test_partial_file_larger_than_the_quota_keeps_what_fits(tmp_path: Path) -> None:
    """Filling beyond the quota leaves blocks missing; those that fitted are read back."""
    cache = NodeCache.open(tmp_path, quota_bytes=4 * BLOCK, reserve_bytes=0, limits=EXACT)
    key = key_for(1, 8 * BLOCK)
    filling = cache.fill(key)

    for start in range(0, key.size, BLOCK):
        filling.write(start, content(key)[start : start + BLOCK])
    missing = filling.missing(0, key.size)
    got = filling.read(0, 3 * BLOCK), filling.read(0, 4 * BLOCK), filling.finish()
    filling.close()

    assert missing == [(3 * BLOCK, 5 * BLOCK)]
    assert got == (content(key)[: 3 * BLOCK], None, None)
    cache.close()


def test_reserve_is_left_free(tmp_path: Path) -> None:
    """A reserve beyond the free space means there is no room."""
    disk = os.statvfs(tmp_path)
    cache = NodeCache.open(
        tmp_path, quota_bytes=1 << 30, reserve_bytes=disk.f_blocks * disk.f_frsize
    )

    with pytest.raises(NoRoom):
        cache.put(key_for(1, 10), content(key_for(1, 10)))
    with pytest.raises(NoRoom):
        cache.fill(key_for(1, 10))
    cache.close()


def test_sparse_giant_costs_its_blocks(tmp_path: Path) -> None:
    """Three blocks of a file of 4 GiB take the disk of three blocks and a map."""
    cache = NodeCache.open(tmp_path, quota_bytes=16 << 20, reserve_bytes=0)
    key = key_for(1, 4 << 30)
    filling = cache.fill(key)
    block = filling.block_bytes
    bodies = {
        number: bytes([number % 251 + 1]) * block for number in (0, 7777, (4 << 30) // block - 1)
    }

    for number, body in bodies.items():
        filling.write(number * block, body)
    filling.close()
    again = cache.fill(key)
    got = {number: again.read(number * block, block) for number in bodies}
    missing = sum(length for _, length in again.missing(0, key.size))
    again.close()

    status = cache.status()
    assert (got, missing) == (bodies, key.size - 3 * block)
    assert (status.partial_files, status.partial_bytes) == (1, 3 * block + overhead(key.size))
    cache.close()


def test_status_counts_everything(cache: NodeCache, tmp_path: Path) -> None:
    """Files, bytes, holders, hits and misses add up, over two handles, and clearing spares holders."""
    one, two, three = key_for(1, 1000), key_for(2, BLOCK), key_for(3, 2 * BLOCK)
    cache.put(one, content(one)).close()
    held = cache.put(two, content(two))
    filling = cache.fill(three)
    filling.write(0, content(three)[:BLOCK])
    other = NodeCache.open(tmp_path / "cache", quota_bytes=1 << 30, reserve_bytes=0)
    assert other.find(key_for(9, 9)) is None
    found = other.find(one)
    assert found is not None
    found.close()
    other.close()

    status = cache.status()
    filling.close()
    freed = cache.clear()

    assert status == CacheStatus(
        folder=str(tmp_path / "cache"),
        quota_bytes=1 << 30,
        reserve_bytes=0,
        files=2,
        bytes=charge(1000) + charge(BLOCK),
        partial_files=1,
        partial_bytes=BLOCK + overhead(2 * BLOCK),
        in_use_files=2,
        hits=1,
        misses=1,
        evictions=0,
    )
    assert freed == charge(1000) + BLOCK + overhead(2 * BLOCK)
    assert whole(held) == content(two)
    assert cache.status().files == 1


def test_survives_a_new_opening(tmp_path: Path) -> None:
    """A cache opened later, as by the next job, has the files and the counts of the first."""
    key, partial = key_for(1, 5000), key_for(2, 2 * BLOCK)
    first = NodeCache.open(tmp_path, quota_bytes=1 << 30, reserve_bytes=0)
    first.put(key, content(key)).close()
    begun = first.fill(partial)
    begun.write(BLOCK, content(partial)[BLOCK:])
    begun.close()
    first.close()

    second = NodeCache.open(tmp_path, quota_bytes=1 << 30, reserve_bytes=0)
    found = second.find(key)
    again = second.fill(partial)
    missing = again.missing(0, partial.size)
    again.close()

    assert found is not None
    assert (whole(found), missing) == (content(key), [(0, BLOCK)])
    second.close()


def test_many_threads_fill_one_file(cache: NodeCache) -> None:
    """Eight threads on one handle write, read and finish without a wrong byte."""
    key = key_for(1, 40 * BLOCK + 3)
    body = content(key)
    filling = cache.fill(key)
    wrong: list[int] = []

    def work(offset: int) -> None:
        for number in range(41):
            start = (number * 7 + offset) % 41 * BLOCK
            for at, length in filling.missing(start, BLOCK):
                filling.write(at, body[at : at + length])
            if filling.read(start, BLOCK) != body[start : start + BLOCK]:
                wrong.append(start)
        held = filling.finish()
        if held is None or whole(held) != body:
            wrong.append(-1)

    threads = [threading.Thread(target=work, args=(5 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    filling.close()

    assert wrong == []


def test_what_arrived_counts_neither_as_hit_nor_as_miss(cache: NodeCache) -> None:
    """A file that was brought for somebody is handed to him without being counted."""
    key = key_for(1, 1000)
    before = cache.arrived(key)
    other = cache.again()
    other.put(key, content(key)).close()
    other.close()

    after = cache.arrived(key)

    assert before is None
    assert after is not None
    assert whole(after) == content(key)
    assert (cache.status().hits, cache.status().misses) == (0, 0)
