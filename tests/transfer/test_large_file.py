"""Large objects arrive in ranges, of one version, and go on where they stopped."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

import pytest

from datastores.errors import Corrupted, PreconditionFailed, TransferFailed, Unavailable
from datastores.storage.memory import MemoryStore
from datastores.transfer import Integrity, Limits, Options, download
from datastores.transfer.ranges import SMALLEST
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.transfer.folder import files_in, hidden_in
from tests.transfer.synthetic import SyntheticStore, content

SIZE = 4 * SMALLEST + 12345
ONE = Limits(streams=1)
OPTIONS_ONE = Options(limits=ONE)


def large_store(body: bytes | None = None) -> MemoryStore:
    """A store with one object of five ranges."""
    store = MemoryStore()
    store.write("big", body or content(0, SIZE))
    return store


def interrupted(folder: Path, store: MemoryStore) -> None:
    """Leave a download of which two ranges have arrived."""
    faulty = FaultyStore(store).plan("read", Fault(error=Unavailable("s", "big")), nth=3)
    with pytest.raises(TransferFailed):
        download(faulty, "", folder, options=Options(limits=ONE))


def rewrite(store: MemoryStore, body: bytes) -> None:
    """Somebody else changes the object."""
    store.write("big", body)


def test_ranges_make_the_whole(tmp_path: Path) -> None:
    """A large object is fetched in parallel ranges and is byte for byte the object."""
    store = FaultyStore(large_store())

    summary = download(store, "", tmp_path)

    assert files_in(tmp_path) == {"big": content(0, SIZE)}
    assert (store.count("read"), summary.bytes, hidden_in(tmp_path)) == (5, SIZE, [])


def test_a_second_run_fetches_only_missing_ranges(tmp_path: Path) -> None:
    """Ranges that arrived in a run that failed are not fetched again."""
    store = large_store()
    interrupted(tmp_path, store)
    again = FaultyStore(store)

    summary = download(again, "", tmp_path)

    assert (again.count("read"), summary.resumed_bytes) == (3, 2 * SMALLEST)
    assert files_in(tmp_path) == {"big": content(0, SIZE)}


def test_a_large_object_that_became_empty_is_an_empty_file(tmp_path: Path) -> None:
    """An object that holds nothing by the time it is read is completed without a range."""
    store = large_store()
    empty = Fault(after=partial(rewrite, store, b""))

    summary = download(FaultyStore(store).plan("read", empty), "", tmp_path, options=OPTIONS_ONE)

    assert (summary.moved, files_in(tmp_path), hidden_in(tmp_path)) == (1, {"big": b""}, [])


def test_zeros_replace_what_an_earlier_run_left(tmp_path: Path) -> None:
    """A sparse download that goes on with a half-done file writes zeros over its old bytes."""
    zeros = bytes(SIZE)
    store = large_store(zeros)
    interrupted(tmp_path, store)
    with (tmp_path / ".big.datastores-part").open("r+b") as part:
        part.seek(SMALLEST + 5)
        part.write(b"rot")

    download(store, "", tmp_path, options=Options(sparse=True))

    assert files_in(tmp_path) == {"big": zeros}


def test_a_named_object_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A large object with a name of its own resumes its ranges as any other."""
    store = large_store()
    faulty = FaultyStore(store).plan("read", Fault(error=Unavailable("s", "big")), nth=3)
    with pytest.raises(TransferFailed):
        download(faulty, "big", tmp_path, name="other", options=OPTIONS_ONE)
    again = FaultyStore(store)

    summary = download(again, "big", tmp_path, name="other")

    assert (again.count("read"), summary.resumed_bytes) == (3, 2 * SMALLEST)
    assert files_in(tmp_path) == {"other": content(0, SIZE)}


def test_a_failed_file_has_no_final_name(tmp_path: Path) -> None:
    """What is half there is hidden."""
    interrupted(tmp_path, large_store())

    assert files_in(tmp_path) == {}
    assert hidden_in(tmp_path) == [
        ".big.datastores-journal",
        ".big.datastores-part",
        ".datastores-failed.json",
    ]


def test_a_range_that_rotted_is_fetched_again(tmp_path: Path) -> None:
    """The journal is not believed: a range whose bytes on disk differ is fetched."""
    store = large_store()
    interrupted(tmp_path, store)
    with (tmp_path / ".big.datastores-part").open("r+b") as part:
        part.seek(SMALLEST + 5)
        part.write(b"rot")
    again = FaultyStore(store)

    download(again, "", tmp_path)

    assert again.count("read") == 4
    assert files_in(tmp_path) == {"big": content(0, SIZE)}


def test_a_torn_journal_costs_only_its_tail(tmp_path: Path) -> None:
    """Half a last line in the journal loses that range alone."""
    store = large_store()
    interrupted(tmp_path, store)
    path = tmp_path / ".big.datastores-journal"
    path.write_bytes(path.read_bytes()[:-4])
    again = FaultyStore(store)

    download(again, "", tmp_path)

    assert again.count("read") == 4
    assert files_in(tmp_path) == {"big": content(0, SIZE)}


def test_another_version_starts_from_the_beginning(tmp_path: Path) -> None:
    """Ranges of an older version are never joined with a newer one."""
    store = large_store()
    interrupted(tmp_path, store)
    store.write("big", bytes(SIZE))

    summary = download(store, "", tmp_path)

    assert (summary.resumed_bytes, files_in(tmp_path)) == (0, {"big": bytes(SIZE)})


def test_an_object_that_changes_midway_is_fetched_again(tmp_path: Path) -> None:
    """A change between two ranges gives the new object whole, never a mixture."""
    store = large_store()
    change = Fault(after=partial(rewrite, store, bytes(SIZE + 1)))
    faulty = FaultyStore(store).plan("read", change, nth=2)

    summary = download(faulty, "", tmp_path, options=Options(limits=ONE))

    assert files_in(tmp_path) == {"big": bytes(SIZE + 1)}
    assert summary.retries == 1


def test_an_object_that_keeps_changing_is_reported(tmp_path: Path) -> None:
    """An object that changes during every attempt fails by name and leaves no final file."""
    store = large_store()
    change = Fault(after=partial(rewrite, store, os.urandom(8) * (SIZE // 8)))
    faulty = FaultyStore(store).plan("read", change, nth=range(1, 100))

    with pytest.raises(TransferFailed) as failed:
        download(faulty, "", tmp_path, options=Options(limits=ONE))

    assert type(failed.value.failures[0][1]) is PreconditionFailed
    assert files_in(tmp_path) == {}


def test_a_short_range_is_damage(tmp_path: Path) -> None:
    """A range that ends early in silence is noticed, and the next run completes the file."""
    store = large_store()
    faulty = FaultyStore(store).plan("read", Fault(truncate_at=1000), nth=2)

    with pytest.raises(TransferFailed) as failed:
        download(faulty, "", tmp_path)
    download(store, "", tmp_path)

    assert type(failed.value.failures[0][1]) is Corrupted
    assert files_in(tmp_path) == {"big": content(0, SIZE)}


def test_holes_stay_holes_when_asked(tmp_path: Path) -> None:
    """A sparse download of zeros takes next to no blocks and reads as zeros."""
    body = bytes(2 * SMALLEST) + b"end"

    download(large_store(body), "", tmp_path, options=Options(sparse=True))

    assert files_in(tmp_path) == {"big": body}
    assert (tmp_path / "big").stat().st_blocks * 512 < SMALLEST


def test_a_wrong_md5_is_not_published(tmp_path: Path) -> None:
    """With MD5 asked for, a large object that does not match its digest gets no name."""
    store = MemoryStore()
    store.stage("big", "1", content(0, SIZE))
    store.commit("big", ["1"], md5=b"0" * 16)

    with pytest.raises(TransferFailed):
        download(store, "", tmp_path, options=Options(integrity=Integrity.MD5))

    assert files_in(tmp_path) == {}


def test_a_name_as_long_as_the_file_system_allows_is_resumable(tmp_path: Path) -> None:
    """Hidden companions of a 255-byte name have shorter names of their own."""
    name = "x" * 255
    store = MemoryStore()
    store.write(name, content(0, SIZE))

    download(store, "", tmp_path)

    assert files_in(tmp_path) == {name: content(0, SIZE)}


def test_two_downloads_into_one_folder_share_the_work(tmp_path: Path) -> None:
    """Of two concurrent downloads of one object, one fetches it and the other waits for it."""
    store = SyntheticStore(count=1, size=SIZE, seconds_per_piece=0.001)
    summaries = []

    def run() -> None:
        summaries.append(download(store, "n", tmp_path, strip="n"))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(summary.moved for summary in summaries) == [0, 1]
    assert store.bytes_read == SIZE
    assert files_in(tmp_path) == {"0000000": content(0, SIZE)}


def test_small_and_large_files_travel_together(tmp_path: Path) -> None:
    """Under the tightest limits a mixture still arrives: nothing waits for itself."""
    store = MemoryStore()
    wanted = {f"s{n}": bytes([n]) * n for n in range(50)} | {
        f"b{n}": content(n, SIZE) for n in range(3)
    }
    for name, body in wanted.items():
        store.write(name, body)

    download(store, "", tmp_path, options=Options(limits=Limits(streams=1, memory_bytes=1)))

    assert files_in(tmp_path) == wanted
