"""Files in the spool whose upload had succeeded when the answer was lost with the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from datastores.storage.contract import ABSENT, Store
from datastores.storage.memory import MemoryStore
from mount.fs.facts import MTIME, spell_mtime
from mount.fs.recovery import Outcome, recover
from mount.fs.spool import Note, Spool
from mount.host.opening import open_order
from mount.leases import RenewableLease
from tests.mount.host.bench import Bench

WRITTEN_NS = 1_700_000_000_123_456_789
BODY = bytes(range(256)) * 16
HALF = len(BODY) // 2


def left(spool: Spool, body: bytes, note: Note) -> Path:
    """What a process leaves that is killed before it has heard of its upload."""
    file = spool.begin()
    os.pwrite(file.fd, body, 0)
    file.describe(note)
    file.leave()
    return file.path


def note(store: Store, **facts: object) -> Note:
    """Where the body belongs, under `x`."""
    known: dict[str, object] = {"store": store.identity, "key": "x", "size": len(BODY)}
    return Note(**(known | facts))  # type: ignore[arg-type]  # fields by name


def outcomes(spool: Spool, store: Store) -> Sequence[Outcome]:
    return [one.outcome for one in recover(spool, store)]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool.open(tmp_path / "spool")


def _new(store: MemoryStore) -> Note:
    """A new file, written whole."""
    store.write("x", [BODY], only_if=ABSENT)
    return note(store, exclusive=True)


def _update(store: MemoryStore) -> Note:
    """A change of the second half, which needed the first half of the version before."""
    base = store.write("x", [BODY[:HALF]])
    store.write("x", [BODY], only_if=base.version, metadata={MTIME: spell_mtime(WRITTEN_NS)})
    return note(store, base_version=base.version, borrowed=[(0, HALF)], modified_ns=WRITTEN_NS)


def _blocks(store: MemoryStore) -> Note:
    """A streamed file whose second half is no longer on the disk."""
    assert store.staging
    ids = [f"block{number:027d}" for number in range(2)]
    for name, start in zip(ids, (0, HALF), strict=True):
        store.staging.stage("x", name, BODY[start : start + HALF])
    store.staging.commit("x", ids, only_if=ABSENT)
    return note(store, exclusive=True, staged=[(ids[1], HALF, 2 * HALF)])


@pytest.mark.parametrize(
    ("stored", "here"),
    [(_new, BODY), (_update, bytes(HALF) + BODY[HALF:]), (_blocks, BODY[:HALF] + bytes(HALF))],
)
def test_a_lost_answer_is_no_conflict(
    spool: Spool, stored: Callable[[MemoryStore], Note], here: bytes
) -> None:
    """What the store has of it already is found to be so, once, and nothing is left in the spool."""
    store = MemoryStore()
    left(spool, here, stored(store))
    before = store.stat("x")

    assert outcomes(spool, store) == [Outcome.STORED]
    assert (store.stat("x"), list(spool.folder.iterdir())) == (before, [])


def _other_bytes(store: MemoryStore) -> None:
    store.write("x", [BODY[:-1] + b"!"])


def _other_size(store: MemoryStore) -> None:
    store.write("x", [BODY + b"!"])


def _other_blocks(store: MemoryStore) -> None:
    """The same bytes, by somebody else: whether it is ours cannot be seen."""
    assert store.staging
    store.staging.stage("x", "other", BODY)
    store.staging.commit("x", ["other"])


def _another_time(store: MemoryStore) -> None:
    """Another client's change of the first half only."""
    changed = b"!" * HALF + BODY[HALF:]
    store.write("x", [changed], metadata={MTIME: spell_mtime(WRITTEN_NS + 1)})


@pytest.mark.parametrize(
    ("stored", "here", "change"),
    [
        (_new, BODY, _other_bytes),
        (_new, BODY, _other_size),
        (_update, bytes(HALF) + BODY[HALF:], _another_time),
        (_blocks, BODY[:HALF] + bytes(HALF), _other_blocks),
    ],
)
def test_another_clients_object_is_a_conflict(
    spool: Spool,
    stored: Callable[[MemoryStore], Note],
    here: bytes,
    change: Callable[[MemoryStore], None],
) -> None:
    """An object that is not surely this file stays as it is, and so do the bytes in the spool."""
    store = MemoryStore()
    path = left(spool, here, stored(store))
    change(store)
    before = store.stat("x")

    assert outcomes(spool, store) == [Outcome.CONFLICT]
    assert (store.stat("x"), path.read_bytes()) == (before, here)


def test_a_host_names_no_file_that_had_arrived(bench: Bench) -> None:
    """A start after a lost answer names nothing as left, and empties the spool."""
    order = bench.order()
    store = open_order(order, RenewableLease("local", None))
    store.write("x", [BODY], only_if=ABSENT)
    left(Spool.open(order.spool), BODY, note(store, exclusive=True))
    store.close()

    host = bench.start()
    assert (host.status().left, list(order.spool.iterdir())) == ([], [])
    assert (bench.at / "x").read_bytes() == BODY
    host.release(20)
