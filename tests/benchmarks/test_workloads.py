"""The files that are moved, and how damage is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.workloads import (
    KIB,
    MIB,
    Workload,
    differences,
    files_below,
    fingerprint,
    make_files,
    workloads,
)

FEW = Workload("few", "four files", (0, 1, 3 * MIB + 7, 20 * KIB), of_files=True)


def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    """Names, sizes and checksums come again with the seed, and others with another."""
    made = [make_files(FEW, tmp_path / str(n), seed) for n, seed in enumerate((1, 1, 2))]

    assert made[0] == made[1]
    assert made[0] != made[2]
    assert sorted(print_.size for print_ in made[0].values()) == sorted(FEW.sizes)


def test_what_was_made_has_no_differences(tmp_path: Path) -> None:
    """The manifest describes the files on disk."""
    manifest = make_files(FEW, tmp_path, 1)

    assert differences(manifest, {n: [p] for n, p in files_below(tmp_path).items()}) == []


@pytest.mark.parametrize("damage", ["missing", "surplus", "one byte", "cut"])
def test_each_kind_of_damage_is_named(tmp_path: Path, damage: str) -> None:
    """A missing file, one too many, a changed byte and a lost end are one difference each."""
    manifest = make_files(FEW, tmp_path, 1)
    largest = max(files_below(tmp_path).items(), key=lambda one: one[1].stat().st_size)
    name, path = largest
    match damage:
        case "missing":
            path.unlink()
        case "surplus":
            (tmp_path / "stranger").write_bytes(b"")
        case "one byte":
            data = bytearray(path.read_bytes())
            data[MIB] ^= 1
            path.write_bytes(data)
        case _:
            path.write_bytes(path.read_bytes()[:-1])

    found = differences(manifest, {n: [p] for n, p in files_below(tmp_path).items()})

    assert found == [
        {
            "missing": f'"{name}" is missing',
            "surplus": '"stranger" was never sent',
        }.get(damage, f'"{name}" has other bytes')
    ]


def test_pieces_are_one_file(tmp_path: Path) -> None:
    """A blob made of blocks has the fingerprint of its bytes in their order."""
    (tmp_path / "a").write_bytes(b"ab")
    (tmp_path / "b").write_bytes(b"c")
    (tmp_path / "whole").write_bytes(b"abc")

    joined = fingerprint([tmp_path / "a", tmp_path / "b"])

    assert joined == fingerprint([tmp_path / "whole"])
    assert joined != fingerprint([tmp_path / "b", tmp_path / "a"])


def test_quick_workloads_have_the_same_names() -> None:
    """A quick run knows every workload, with fewer bytes."""
    quick, full = workloads(quick=True), workloads(quick=False)

    assert list(quick) == list(full)
    assert all(quick[name].total_bytes < full[name].total_bytes for name in full)
