"""Torn, changed and lost files: never a wrong byte, never an error."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mount.cache import shelf as shelf_module
from mount.cache.block_map import block_checksums, map_bytes
from mount.cache.census import take_census
from mount.cache.contract import CacheKey, NoRoom
from mount.cache.layout import SMALLEST_BLOCK_BYTES, Geometry, Layout, Place, charge, name_of
from mount.cache.node_cache import NodeCache
from mount.cache.room import Limits
from mount.cache.stamp import boot_stamp_ns
from mount.errors import CacheBroken
from tests.mount.cache.content import content, key_for, whole

BLOCK = SMALLEST_BLOCK_BYTES


# Nothing is taken ahead, so that the ledger says what is there.
EXACT = Limits(0, 0, ahead_bytes=0)


def open_cache(folder: Path, boot: str = "first boot", limits: Limits | None = None) -> NodeCache:
    return NodeCache.open(
        folder, quota_bytes=1 << 30, reserve_bytes=0, boot=boot, limits=limits or Limits(0, 0)
    )


def place_of(folder: Path, key: CacheKey) -> Place:
    return Layout(folder / "v1").place(name_of(key))


def truncate(path: str) -> None:
    os.truncate(path, Path(path).stat().st_size // 2)


def zero_the_middle(path: str) -> None:
    """What a power cut leaves of blocks that were not written back."""
    stat = Path(path).stat()
    with Path(path).open("r+b") as file:
        file.seek(stat.st_size // 2)
        file.write(bytes(16))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace_with_noise(path: str) -> None:
    stat = Path(path).stat()
    Path(path).write_bytes(os.urandom(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def empty(path: str) -> None:
    os.truncate(path, 0)


TEARS = [truncate, zero_the_middle, replace_with_noise, empty, os.unlink]


@pytest.mark.parametrize("part", ["data", "head"])
@pytest.mark.parametrize("tear", TEARS)
def test_damaged_complete_file_is_not_served_after_a_reboot(
    tmp_path: Path, tear: Callable[[str], None], part: str
) -> None:
    """A file whose data or head a power cut damaged is dropped; the next `put` heals it."""
    key = key_for(1, 3 * BLOCK + 9)
    before = open_cache(tmp_path)
    before.put(key, content(key)).close()
    before.close()

    tear(getattr(place_of(tmp_path, key), part))
    after = open_cache(tmp_path, "second boot")

    assert after.find(key) is None
    assert whole(after.put(key, content(key))) == content(key)
    found = after.find(key)
    assert found is not None
    assert whole(found) == content(key)
    after.close()


SMALL = [1, 5000, BLOCK]


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize("tear", TEARS)
def test_damaged_small_file_is_not_served_after_a_reboot(
    tmp_path: Path, tear: Callable[[str], None], size: int
) -> None:
    """A file of one block, whose checksum is in its time, is dropped as well; `put` heals it."""
    key = key_for(1, size)
    before = open_cache(tmp_path)
    before.put(key, content(key)).close()
    before.close()

    tear(place_of(tmp_path, key).data)
    after = open_cache(tmp_path, "second boot")

    assert after.find(key) is None
    assert whole(after.put(key, content(key))) == content(key)
    after.close()


@pytest.mark.parametrize("size", [0, *SMALL])
def test_sound_small_file_is_served_after_two_reboots(tmp_path: Path, size: int) -> None:
    """The checksum of a file of one block goes on from the time of one boot to that of the next."""
    key = key_for(1, size)
    before = open_cache(tmp_path)
    before.put(key, content(key)).close()
    before.close()

    served = []
    for boot in ("second boot", "third boot"):
        after = open_cache(tmp_path, boot)
        held = after.find(key)
        assert held is not None
        served.append(whole(held))
        after.close()

    assert served == [content(key)] * 2


@pytest.mark.parametrize("moment", ["before 2000", "an odd second", "now"])
def test_a_time_that_is_no_stamp_proves_nothing(tmp_path: Path, moment: str) -> None:
    """A right checksum in a time that the cache never gives a file is not believed."""
    key = key_for(1, 5000)
    cache = open_cache(tmp_path)
    cache.put(key, content(key)).close()
    path = place_of(tmp_path, key).data
    seconds, mark = divmod(Path(path).stat().st_mtime_ns, 10**9)

    moments = {
        "before 2000": seconds - 2**29,
        "an odd second": seconds + 1,
        "now": int(time.time()),
    }
    os.utime(path, ns=(0, moments[moment] * 10**9 + mark))

    assert cache.find(key) is None
    cache.close()


def put_in_the_first_form(folder: Path, key: CacheKey, boot: str) -> Place:
    """A small file as earlier releases left it: its checksum beside it, and none in its time."""
    place = place_of(folder, key)
    checksums = block_checksums(memoryview(content(key)), Geometry.of(key.size))
    Path(place.data).parent.mkdir(parents=True, exist_ok=True)
    Path(place.data).write_bytes(content(key))
    Path(place.head).write_bytes(map_bytes(key, checksums))
    os.utime(place.data, ns=(time.time_ns(), boot_stamp_ns(boot)))
    return place


@pytest.mark.parametrize("boot", ["first boot", "second boot"])
@pytest.mark.parametrize("size", [0, *SMALL])
def test_small_file_of_the_first_form_is_served(tmp_path: Path, size: int, boot: str) -> None:
    """What an earlier release cached is served in its boot and after the next one."""
    key = key_for(1, size)
    place = put_in_the_first_form(tmp_path, key, "first boot")
    cache = open_cache(tmp_path, boot)

    held = cache.find(key)
    assert held is not None
    served, findings = whole(held), cache.verify()
    cache.forget(key)

    assert (served, findings.files, findings.damaged) == (content(key), 1, ())
    assert not Path(place.head).exists()
    cache.close()


@pytest.mark.parametrize("part", ["data", "head"])
@pytest.mark.parametrize("tear", TEARS)
def test_damaged_small_file_of_the_first_form_is_not_served(
    tmp_path: Path, tear: Callable[[str], None], part: str
) -> None:
    """What a power cut left of a file of an earlier release is dropped like one of this release."""
    key = key_for(1, 5000)
    place = put_in_the_first_form(tmp_path, key, "first boot")

    tear(getattr(place, part))
    cache = open_cache(tmp_path, "second boot")

    assert cache.find(key) is None
    assert not Path(place.data).exists()
    cache.close()


@pytest.mark.parametrize("tear", [truncate, empty, os.unlink])
def test_torn_complete_file_is_not_served_in_the_same_boot(
    tmp_path: Path, tear: Callable[[str], None]
) -> None:
    """A file of the wrong length is not served, whenever it was torn."""
    key = key_for(1, 3 * BLOCK + 9)
    cache = open_cache(tmp_path)
    cache.put(key, content(key)).close()

    tear(place_of(tmp_path, key).data)

    assert cache.find(key) is None
    cache.close()


def test_sound_file_is_checked_once_per_boot(tmp_path: Path) -> None:
    """After a reboot a sound file is served, and from then on carries the new boot's stamp."""
    key = key_for(1, 3 * BLOCK + 9)
    before = open_cache(tmp_path)
    before.put(key, content(key)).close()
    before.close()
    stamp = Path(place_of(tmp_path, key).data).stat().st_mtime_ns
    after = open_cache(tmp_path, "second boot")

    first = after.find(key)
    assert first is not None
    served = whole(first)
    stamps = [Path(place_of(tmp_path, key).data).stat().st_mtime_ns]
    second = after.find(key)
    assert second is not None
    second.close()
    stamps.append(Path(place_of(tmp_path, key).data).stat().st_mtime_ns)

    assert served == content(key)
    assert stamps[0] == stamps[1] != stamp
    after.close()


def test_large_file_is_checked_block_by_block_after_a_reboot(tmp_path: Path) -> None:
    """A file too large to be read through at once comes back as blocks, minus the damaged one."""
    key = CacheKey("s", "large", "v", shelf_module.LARGEST_CHECK_BYTES + BLOCK + 1)
    body = os.urandom(key.size)
    before = open_cache(tmp_path)
    before.put(key, body).close()
    before.close()
    data = place_of(tmp_path, key).data
    with Path(data).open("r+b") as file:
        file.seek(5 * BLOCK + 17)
        file.write(bytes(100))
    after = open_cache(tmp_path, "second boot")

    found = after.find(key)
    filling = after.fill(key)
    unknown = filling.missing(0, key.size)
    unread = filling.read(5 * BLOCK, 10)
    known = filling.missing(0, key.size)
    sound = filling.read(4 * BLOCK, BLOCK)
    filling.write(5 * BLOCK, body[5 * BLOCK : 6 * BLOCK])
    finished = filling.finish()
    filling.close()

    assert (found, unknown, unread, known) == (None, [], None, [(5 * BLOCK, BLOCK)])
    assert sound == body[4 * BLOCK : 5 * BLOCK]
    assert finished is not None
    assert whole(finished) == body
    assert after.status().bytes == charge(key.size)
    after.close()


@pytest.mark.parametrize("part", ["partial", "map"])
@pytest.mark.parametrize("tear", TEARS)
def test_damaged_partial_file_gives_right_bytes_or_none(
    tmp_path: Path, tear: Callable[[str], None], part: str
) -> None:
    """Whatever happened to data or map, reads are right or None, and refilling completes the file."""
    key = key_for(1, 6 * BLOCK + 9)
    body = content(key)
    cache = open_cache(tmp_path)
    filling = cache.fill(key)
    filling.write(0, body[: 4 * BLOCK])
    filling.close()

    tear(getattr(place_of(tmp_path, key), part))
    again = cache.fill(key)
    reads = [again.read(start, 1000) for start in range(0, key.size, BLOCK)]
    for start, length in again.missing(0, key.size):
        again.write(start, body[start : start + length])
    finished = again.finish()
    again.close()

    right = [body[start : start + 1000] for start in range(0, key.size, BLOCK)]
    assert all(got is None or got == want for got, want in zip(reads, right, strict=True))
    assert finished is not None
    assert whole(finished) == body
    cache.close()


def test_moved_map_entries_are_not_believed(tmp_path: Path) -> None:
    """Entries that slid to another block's place say nothing."""
    key = key_for(1, 4 * BLOCK)
    cache = open_cache(tmp_path)
    filling = cache.fill(key)
    filling.write(0, content(key)[:BLOCK])
    filling.close()
    path = Path(place_of(tmp_path, key).map)
    raw = path.read_bytes()
    entries = raw[-32:]

    path.write_bytes(raw[:-32] + entries[8:] + entries[:8])
    again = cache.fill(key)
    missing = again.missing(0, key.size)
    again.close()

    assert missing == [(0, key.size)]
    cache.close()


def test_torn_ledger_is_counted_anew(tmp_path: Path) -> None:
    """Without believable numbers the files are counted, and the quota holds as before."""
    key = key_for(1, 1000)
    cache = open_cache(tmp_path, limits=EXACT)
    cache.put(key, content(key)).close()

    for tear in (truncate, empty, replace_with_noise):
        tear(str(tmp_path / "v1" / "usage"))
        other = key_for(2, 2000)
        cache.put(other, content(other)).close()
        cache.forget(other)
        assert cache._shelf.room.ledger.read().used == charge(1000)
    cache.close()


def test_room_of_a_dead_process_is_found_again(tmp_path: Path) -> None:
    """What a killed process had counted and never wrote does not stay taken."""
    key = key_for(1, 1000)
    cache = open_cache(tmp_path, limits=EXACT)
    first = key_for(2, 1000)
    cache.put(first, content(first)).close()
    assert cache._shelf.room.ledger.take((1 << 30) - charge(1000), 1 << 30)

    cache.put(key, content(key)).close()

    assert cache._shelf.room.ledger.read().used == 2 * charge(1000)
    assert cache.status().evictions == 0
    cache.close()


def test_leftovers_of_the_dead_are_swept_up(tmp_path: Path) -> None:
    """Files that came in and lost their writer, and heads without data, go with an old census."""
    key = key_for(1, 1000)
    cache = open_cache(tmp_path)
    cache.put(key, content(key)).close()
    layout = Layout(tmp_path / "v1")
    leftovers = [
        Path(layout.incoming) / "3000-1-0-abcd",
        Path(layout.place(name_of(key_for(2, 1000))).head),
        Path(layout.place(name_of(key_for(3, 1000))).map),
    ]
    for path in leftovers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left")

    take_census(layout, time.time_ns())
    young = [path.exists() for path in leftovers]
    take_census(layout, time.time_ns(), grace_seconds=-1.0)

    assert young == [True] * 3
    assert [path.exists() for path in leftovers] == [False] * 3
    assert cache.status().files == 1
    cache.close()


def test_verify_finds_and_drops_damage(tmp_path: Path) -> None:
    """Every damaged file is named and gone, every damaged block is missing, the rest is untouched."""
    sound, torn, partial = key_for(1, BLOCK + 5), key_for(2, BLOCK + 5), key_for(3, 3 * BLOCK)
    small, torn_small = key_for(4, 5000), key_for(5, 5000)
    cache = open_cache(tmp_path)
    for key in (sound, torn, small, torn_small):
        cache.put(key, content(key)).close()
    filling = cache.fill(partial)
    filling.write(0, content(partial)[: 2 * BLOCK])
    filling.close()
    zero_the_middle(place_of(tmp_path, torn).data)
    zero_the_middle(place_of(tmp_path, torn_small).data)
    with Path(place_of(tmp_path, partial).partial).open("r+b") as file:
        file.write(b"noise")

    findings = cache.verify()
    again = cache.verify()

    for key in (sound, small):
        held = cache.find(key)
        assert held is not None
        assert whole(held) == content(key)
    assert [cache.find(torn), cache.find(torn_small)] == [None, None]
    filling = cache.fill(partial)
    missing = filling.missing(0, partial.size)
    filling.close()
    assert missing == [(0, BLOCK), (2 * BLOCK, BLOCK)]
    # A small file keeps no key to be named by.
    assert findings.damaged == tuple(sorted([torn.key, name_of(torn_small), partial.key]))
    assert (findings.files, findings.partial_files) == (4, 1)
    assert (again.damaged, again.files, again.partial_files) == ((), 2, 1)
    cache.close()


def test_folder_removed_under_an_open_cache(tmp_path: Path) -> None:
    """When somebody deletes the folder the cache is empty and takes nothing in; nothing fails."""
    key = key_for(1, 1000)
    cache = open_cache(tmp_path / "cache")
    cache.put(key, content(key)).close()

    shutil.rmtree(tmp_path / "cache")

    with pytest.raises(NoRoom):
        cache.put(key, content(key))
    assert cache.find(key) is None
    cache.forget(key)
    cache.verify()
    assert cache.status().files == 0
    cache.close()


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    """Files and folders that are not the cache's own are neither counted, removed nor in the way."""
    key = key_for(1, 1000)
    cache = open_cache(tmp_path)
    cache.put(key, content(key)).close()
    foreign = [
        tmp_path / "v1" / "files" / "notes.txt",
        Path(place_of(tmp_path, key).data).parent / "notes.txt",
        tmp_path / "v1" / "incoming" / "notes.txt",
    ]
    for path in foreign:
        path.write_bytes(b"mine")

    status, freed = cache.status(), cache.clear()

    assert (status.files, freed) == (1, charge(1000))
    assert [path.read_bytes() for path in foreign] == [b"mine"] * 3
    cache.close()


def test_file_in_place_of_the_folder_is_broken(tmp_path: Path) -> None:
    """A cache that can neither be read nor made says so when it is opened, and what to do."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(CacheBroken, match="name a folder"):
        open_cache(tmp_path / "file")
