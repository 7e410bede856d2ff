"""A downloaded folder can be checked, and only what is bad is fetched again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from datastores.errors import TransferFailed, Unavailable
from datastores.storage.memory import MemoryStore
from datastores.transfer import (
    Depth,
    Finding,
    Limits,
    Options,
    Problem,
    Report,
    download,
    repair,
    verify,
)
from datastores.transfer.ranges import SMALLEST, Range
from datastores.transfer.records import Records
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.transfer.folder import files_in, hidden_in
from tests.transfer.synthetic import content

SIZE = 3 * SMALLEST + 5


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.write("big", content(0, SIZE))
    store.write("small", b"1")
    store.write("x/y", b"22")
    return store


def damage(path: Path, at: int) -> None:
    """Change a byte and keep the time, as a failing disk does."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_fresh_download_is_clean(store: MemoryStore, tmp_path: Path) -> None:
    """Nothing is found after a download, at any depth, and verifying reads no object but BYTES."""
    download(store, "", tmp_path)
    watched = FaultyStore(store)

    reports = [verify(watched, "", tmp_path, depth=depth) for depth in Depth]

    assert reports == [Report(3, 3, ())] * 3
    assert watched.count("read") == 6


def test_each_kind_of_trouble_is_told_apart(store: MemoryStore, tmp_path: Path) -> None:
    """Missing, cut and outdated files, and the one bad range of a large file."""
    download(store, "", tmp_path)
    damage(tmp_path / "big", SMALLEST + 7)
    (tmp_path / "small").unlink()
    store.write("x/y", b"33")

    report = verify(store, "", tmp_path)

    assert report.findings == (
        Finding("big", Problem.DAMAGED, (Range(1, SMALLEST, SMALLEST),)),
        Finding("small", Problem.MISSING),
        Finding("x/y", Problem.OUTDATED),
    )


def test_repair_fetches_only_the_bad_range(store: MemoryStore, tmp_path: Path) -> None:
    """One damaged range of a large file costs one range."""
    download(store, "", tmp_path)
    damage(tmp_path / "big", SMALLEST + 7)
    report = verify(store, "", tmp_path)
    watched = FaultyStore(store)

    summary = repair(watched, tmp_path, report)

    assert (watched.count("read"), summary.bytes) == (1, SMALLEST)
    assert files_in(tmp_path)["big"] == content(0, SIZE)
    assert (verify(store, "", tmp_path).is_clean, hidden_in(tmp_path)) == (True, [])


@pytest.mark.parametrize("key", ["big", "small"])
def test_a_file_of_another_name_is_compared_and_healed(
    store: MemoryStore, tmp_path: Path, key: str
) -> None:
    """An object that was downloaded under another name is verified and repaired under it."""
    download(store, key, tmp_path, name="mine")
    whole = files_in(tmp_path)
    clean = verify(store, key, tmp_path, name="mine")
    damage(tmp_path / "mine", 0)

    report = verify(store, key, tmp_path, name="mine")
    summary = repair(store, tmp_path, report)

    assert (clean.is_clean, [found.name for found in report.findings]) == (True, ["mine"])
    assert (files_in(tmp_path), summary.moved) == (whole, 1)
    assert verify(store, key, tmp_path, name="mine").is_clean


def test_repair_heals_everything_found(store: MemoryStore, tmp_path: Path) -> None:
    """After a repair the folder is the source again."""
    download(store, "", tmp_path / "t", strip="")
    (tmp_path / "t/small").write_bytes(b"longer")
    (tmp_path / "t/x/y").unlink()
    damage(tmp_path / "t/big", 0)

    repair(store, tmp_path / "t", verify(store, "", tmp_path / "t"))

    assert files_in(tmp_path / "t") == {"big": content(0, SIZE), "small": b"1", "x/y": b"22"}


def test_an_object_that_cannot_be_read_fails_alone(store: MemoryStore, tmp_path: Path) -> None:
    """One object's trouble is named at the end; the others are compared."""
    download(store, "", tmp_path)
    away = Unavailable("memory", "big")
    watched = FaultyStore(store).plan("read", Fault(error=away))

    one = Options(limits=Limits(streams=1))
    with pytest.raises(TransferFailed) as failed:
        verify(watched, "", tmp_path, depth=Depth.BYTES, options=one)

    assert ([error for _, error in failed.value.failures], failed.value.done) == ([away], 2)


def test_repairing_what_is_fetched_whole_leaves_nothing_behind(tmp_path: Path) -> None:
    """A damaged file of exactly the size that still comes in one request leaves no journal."""
    store, options = MemoryStore(), Options(small_bytes=SMALLEST)
    store.write("a", content(0, SMALLEST))
    download(store, "", tmp_path, options=options)
    damage(tmp_path / "a", 5)

    repair(store, tmp_path, verify(store, "", tmp_path), options=options)

    assert files_in(tmp_path) == {"a": content(0, SMALLEST)}
    assert hidden_in(tmp_path) == []


def test_sums_of_an_unknown_algorithm_prove_nothing(store: MemoryStore, tmp_path: Path) -> None:
    """A record whose algorithm is not known here neither vouches for a file nor accuses it."""
    download(store, "", tmp_path)
    records = Records.open(tmp_path)
    for record in list(records):
        records.add(replace(record, algorithm="sha9"))
    records.close()

    report = verify(store, "", tmp_path)

    assert [finding.problem for finding in report.findings] == [Problem.UNPROVEN] * 3


def test_files_without_records_are_unproven_until_bytes_are_compared(
    store: MemoryStore, tmp_path: Path
) -> None:
    """Without a record or a digest, only reading the source can tell; it finds the bad range."""
    download(store, "", tmp_path)
    (tmp_path / ".datastores-records").unlink()
    damage(tmp_path / "big", SIZE - 1)

    recorded = verify(store, "", tmp_path)
    deep = verify(store, "", tmp_path, depth=Depth.BYTES)

    assert {finding.problem for finding in recorded.findings} == {Problem.UNPROVEN}
    assert deep.findings == (Finding("big", Problem.DAMAGED, (Range(3, 3 * SMALLEST, 5),)),)
