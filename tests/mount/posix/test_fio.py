"""fio writes blocks that carry their own check sums, and reads them back through another mount."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from datastores.storage.contract import Store
from datastores.storage.verbs import read_bytes
from tests.mount.frameworks.served import EVER_ASKING, container_store, served
from tests.servers.azurite import Azurite

KIB, MIB = 1 << 10, 1 << 20
LIMIT_SECONDS = 100
# More than one block of an upload.
SIZE = 10 * MIB
# What fio reports for a check sum that does not fit: EILSEQ.
DAMAGED = 84


@dataclass(frozen=True, slots=True)
class Twice:
    """One store in two mounts."""

    here: Path
    there: Path
    store: Store


@pytest.fixture(name="twice")
def fixture_twice(azurite: Azurite, tmp_path: Path) -> Iterator[Twice]:
    """A fresh container, mounted twice with an empty cache each."""
    with (
        container_store(azurite, azurite.container()) as store,
        served(store, tmp_path / "here") as here,
        served(store, tmp_path / "there", view=EVER_ASKING) as there,
    ):
        yield Twice(here.path, there.path, store)


def fio(place: Path, *options: str) -> Any:
    """The job's results; its errors are in them."""
    fixed = {
        "name": "verified",
        "filename": str(place / "file"),
        "size": str(SIZE),
        "verify": "crc32c",
        # Otherwise a file in the working folder.
        "verify_state_save": "0",
        "fallocate": "none",
        "output-format": "json",
    }
    command = ["fio", *(f"--{name}={value}" for name, value in fixed.items()), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    # Complaints stand before the results.
    results: Any = json.loads(done.stdout[done.stdout.index("{\n") :])
    return results["jobs"][0]


def written_and_verified(twice: Twice, *options: str) -> None:
    """Written here and verified, then verified from the store through the other mount."""
    job = fio(twice.here, *options, "--do_verify=1")
    assert (job["error"], job["read"]["io_bytes"]) == (0, job["write"]["io_bytes"])
    again = fio(twice.there, *options, "--verify_only=1")
    assert (again["error"], again["read"]["io_bytes"]) == (0, job["write"]["io_bytes"])


@pytest.mark.parametrize("engine", ["psync", "mmap"])
def test_written_in_order(twice: Twice, engine: str) -> None:
    """Ten mebibytes in order, by writes and by a mapping, have every check sum right."""
    written_and_verified(twice, "--rw=write", "--bs=64k", f"--ioengine={engine}")

    assert twice.store.stat("file").size == SIZE


def test_written_at_random(twice: Twice) -> None:
    """Ten mebibytes in random order have every check sum right."""
    written_and_verified(twice, "--rw=randwrite", "--bs=32k")

    assert twice.store.stat("file").size == SIZE


def test_four_writers_at_once(twice: Twice) -> None:
    """Four programs write a quarter each of one file at a time, and every check sum is right."""
    quarters = ("--numjobs=4", f"--size={SIZE // 4}", f"--offset_increment={SIZE // 4}")
    written_and_verified(twice, "--rw=randwrite", "--bs=32k", "--group_reporting", *quarters)

    assert twice.store.stat("file").size == SIZE


def test_holes(twice: Twice) -> None:
    """Where every second stretch was left out there are zeros, in the store as well."""
    stretch = 256 * KIB
    zones = ("--zonemode=strided", f"--zonesize={stretch}", f"--zoneskip={stretch}")
    # A file that is shorter than its size is laid out anew by fio, over what it should verify.
    subprocess.run(["truncate", f"--size={SIZE}", twice.here / "file"], check=True)

    written_and_verified(twice, "--rw=write", "--bs=32k", f"--io_size={SIZE // 2}", *zones)

    body = read_bytes(twice.store, "file")
    empty = [body[at : at + stretch] for at in range(stretch, SIZE, 2 * stretch)]
    full = [body[at : at + stretch] for at in range(0, SIZE, 2 * stretch)]
    assert [part == bytes(stretch) for part in empty] == [True] * len(empty)
    assert [part == bytes(stretch) for part in full] == [False] * len(full)


def test_damage_is_found(twice: Twice) -> None:
    """One wrong byte in the store fails the verification, so a right one means something."""
    assert fio(twice.here, "--rw=write", "--bs=64k", "--do_verify=0")["error"] == 0
    body = bytearray(read_bytes(twice.store, "file"))
    body[5 * MIB + 100] ^= 1
    twice.store.write("file", bytes(body))

    assert fio(twice.there, "--rw=write", "--bs=64k", "--verify_only=1")["error"] == DAMAGED
