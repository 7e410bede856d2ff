"""Ranges on their way: what a body's pieces become, and what is left of one that breaks off."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from datastores.errors import Unavailable
from datastores.storage.contract import ObjectStream
from datastores.storage.memory import MemoryStore
from mount.fs.counters import Counters
from mount.fs.fetch import HANDED_ON_BYTES, fetch_into
from tests.contracts.faulty_store import Fault, FaultyStore, FaultyStream

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK = 256 * 1024
SIZE = 3 * HANDED_ON_BYTES + 2 * BLOCK + 77
BODY = random.Random(5).randbytes(SIZE)


@dataclass(frozen=True)
class Wanted:
    """One version of one object."""

    key: str
    version: str | None
    size: int


class CutStream(FaultyStream):
    """A body in pieces of given lengths, again and again."""

    def __init__(self, inner: ObjectStream, lengths: Sequence[int]) -> None:
        super().__init__(inner, Fault())
        self._lengths = lengths

    def __iter__(self) -> Iterator[Buffer]:
        body = b"".join(memoryview(piece) for piece in super().__iter__())
        at = 0
        for length in cycle(self._lengths):
            if at >= len(body):
                return
            yield body[at : at + length]
            at += length


@dataclass(slots=True)
class CutStore(FaultyStore):
    """A store whose bodies come in pieces of these lengths."""

    lengths: Sequence[int] = ()

    def read(
        self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None
    ) -> ObjectStream:
        stream = self.inner.read(key, start=start, length=length, version=version)
        return CutStream(stream, self.lengths)


class Taken:
    """What a sink was given: where each time, and how many bytes."""

    block_bytes = BLOCK

    def __init__(self) -> None:
        self.counters = Counters()
        self.times: list[tuple[int, int]] = []
        self.body = b""

    def put(self, flight: str, start: int, *pieces: Buffer) -> None:
        assert flight == "flight"
        data = b"".join(pieces)
        self.times.append((start, len(data)))
        self.body += data

    def count_request(self) -> None:
        self.counters.add("requests")


@pytest.fixture
def inner() -> MemoryStore:
    store = MemoryStore()
    store.write("x", BODY)
    return store


def wanted_from(store: MemoryStore) -> Wanted:
    info = store.stat("x")
    return Wanted("x", info.version, info.size)


@pytest.mark.parametrize(
    "lengths",
    [[BLOCK], [60_000, BLOCK - 60_000, BLOCK], [1000], [BLOCK + 1], [SIZE], [BLOCK // 2, 3, BLOCK]],
    ids=["blocks", "head first", "small", "odd", "whole", "mixed"],
)
def test_whole_blocks_are_handed_on_together(inner: MemoryStore, lengths: Sequence[int]) -> None:
    """However a body is cut, a sink gets all of it in order, in whole blocks, about 1 MiB a time."""
    taken = Taken()

    fetch_into(CutStore(inner, lengths=lengths), wanted_from(inner), 0, SIZE, taken, "flight")

    starts = [start for start, _ in taken.times]
    ends = [start + length for start, length in taken.times]
    most = max(length for _, length in taken.times)
    assert taken.body == BODY
    assert starts == [0, *ends[:-1]]
    assert {end % BLOCK for end in ends[:-1]} <= {0}
    assert most < HANDED_ON_BYTES + BLOCK or lengths == [SIZE]
    assert len(taken.times) <= SIZE // HANDED_ON_BYTES + 1


def test_a_body_that_breaks_off_leaves_its_whole_blocks(inner: MemoryStore) -> None:
    """The blocks before a connection's end are handed on, though they are less than are waited for."""
    store = FaultyStore(CutStore(inner, lengths=[BLOCK]))
    broken = Unavailable("memory", "x", "it broke off; read it again")
    store.plan("read", Fault(break_at=2 * BLOCK + 10, break_error=broken))
    taken = Taken()

    with pytest.raises(Unavailable):
        fetch_into(store, wanted_from(inner), 0, SIZE, taken, "flight")

    assert taken.times == [(0, 2 * BLOCK)]
    assert taken.body == BODY[: 2 * BLOCK]


def test_a_body_that_ends_early_is_asked_for_from_its_last_block(inner: MemoryStore) -> None:
    """The second request begins where whole blocks ended, and no byte is handed on twice."""
    store = FaultyStore(CutStore(inner, lengths=[BLOCK]))
    store.plan("read", Fault(truncate_at=2 * BLOCK + 10))
    taken = Taken()

    fetch_into(store, wanted_from(inner), 0, SIZE, taken, "flight")

    assert (taken.body, taken.times[:2]) == (BODY, [(0, 2 * BLOCK), (2 * BLOCK, HANDED_ON_BYTES)])
    assert taken.counters.get("requests") == 2
