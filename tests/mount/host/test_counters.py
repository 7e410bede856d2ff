"""A mount's numbers are of its whole life, however many processes served it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from mount.fs.counters import Counters, Counts
from mount.host.host import Host
from tests.mount.host.bench import Bench, kill_worker, until


@pytest.fixture
def memory() -> Iterator[int]:
    """A file in memory, as a supervisor keeps one."""
    fd = os.memfd_create("counters")
    yield fd
    os.close(fd)


def test_totals_go_on_and_gauges_do_not(memory: int) -> None:
    """A successor's totals are its own and its predecessors'; what those held is gone with them."""
    for number in range(3):
        life = Counters()
        life.add("opens", 1)  # before anybody keeps it
        life.keep_in(memory)
        life.add("opens", 10)
        life.add("bytes_read", 1 << 40)
        life.add("blocked_seconds", 0.25)
        life.add("memory_bytes", 7)

        assert life.counts(drafts=number) == Counts(
            opens=11 * (number + 1),
            bytes_read=(number + 1) << 40,
            blocked_seconds=0.25 * (number + 1),
            memory_bytes=7,
            drafts=number,
        )


def test_counters_outlive_a_killed_worker(bench: Bench) -> None:
    """After a kill the status has every total as it was, and goes on from there."""
    for number in range(10):
        (bench.store / f"a{number}").write_bytes(b"alpha")
    host = bench.start()
    for number in range(5):
        _read(bench, number)
    (bench.at / "b").write_bytes(b"beta")
    before = _settled(host)
    dead = kill_worker(host)
    until(lambda: host.status().worker != dead)
    between = host.status().counters
    for number in range(5, 10):
        _read(bench, number)

    after = _settled(host)
    totals = ("opens", "cache_misses", "bytes_written", "bytes_sent", "bytes_fetched")
    assert [before[name] for name in totals] == [6, 5, 4, 4, 25]
    assert [between[name] for name in totals] == [6, 5, 4, 4, 25]
    assert [after[name] for name in totals] == [11, 10, 4, 4, 50]
    assert {name for name in asdict(Counts()) if between[name] < before[name]} <= {"lookups"}
    assert host.counters() == {**host.status().counters, "restarts": 1}
    host.release(20)


def _read(bench: Bench, number: int) -> None:
    assert (bench.at / f"a{number}").read_bytes() == b"alpha"


def _settled(host: Host) -> dict[str, int | float]:
    """The numbers once the kernel has told of every file that it let go of."""
    until(lambda: not host.status().counters["open_files"])
    return dict(host.status().counters)
