"""A host whose worker is killed under readers and writers: they notice a pause."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mount.host.host import Host
from mount.host.start import find_host
from tests.mount.host.bench import Bench, is_mounted, kill_host, kill_worker, names, until

LARGE = os.urandom(12 << 20)
KILLS = 4


@contextmanager
def killing(host: Host, pace: threading.Semaphore) -> Iterator[None]:
    """Kill a worker whenever the pace is raised, and see its successor serve."""

    def work() -> None:
        for _ in range(KILLS):
            assert pace.acquire(timeout=60)
            dead = kill_worker(host)
            until(lambda dead=dead: host.status().worker != dead)  # type: ignore[misc]  # bound now

    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(work)
        yield
        killer.result(120)


def test_readers_see_a_pause(bench: Bench) -> None:
    """Files read while workers die one after the other have all their bytes; no call fails."""
    for number in range(40):
        (bench.store / f"small{number}").write_bytes(LARGE[number * 1000 : number * 3000])
    (bench.store / "large").write_bytes(LARGE)
    host = bench.start(read_only=True)
    pace = threading.Semaphore(0)

    with killing(host, pace), (bench.at / "large").open("rb", buffering=0) as large:
        seen = bytearray()
        for number in range(40):
            if number % 10 == 5:
                pace.release()
            small = (bench.at / f"small{number}").read_bytes()
            assert small == LARGE[number * 1000 : number * 3000]
            seen += large.read(300_000)
        while piece := large.read(1 << 20):
            seen += piece

    assert bytes(seen) == LARGE
    assert host.status().restarts == KILLS
    host.release(20)


@pytest.mark.parametrize("where", ["bench", "cloud_bench"])
def test_writers_lose_nothing(where: str, request: pytest.FixtureRequest) -> None:
    """Files written in pieces while workers die are in the store as they were written."""
    bench: Bench = request.getfixturevalue(where)
    host = bench.start()
    pace = threading.Semaphore(0)

    with (
        killing(host, pace),
        (bench.at / "log").open("ab", buffering=0) as log,
        (bench.at / "large").open("wb", buffering=0) as large,
    ):
        for number in range(60):
            if number % 15 == 5:
                pace.release()
            large.write(LARGE[number * 200_000 : (number + 1) * 200_000])
            log.write(b"line %d\n" % number)
            (bench.at / f"small{number}").write_bytes(b"%d" % number * number)
        os.fsync(large.fileno())

    kill_host(host)
    assert find_host(host.folder) is None
    again = bench.start("again", cache=bench.root / "empty")
    assert (bench.at / "large").read_bytes() == LARGE[:12_000_000]
    assert (bench.at / "log").read_bytes() == b"".join(b"line %d\n" % n for n in range(60))
    for number in range(60):
        assert (bench.at / f"small{number}").read_bytes() == b"%d" % number * number
    again.release(20)


def test_open_things_go_on(bench: Bench) -> None:
    """What was open, made, renamed, deleted and set before a kill is so after it."""
    (bench.store / "d").mkdir()
    (bench.store / "d" / "a").write_bytes(b"alpha")
    host = bench.start()
    at = bench.at
    (at / "d" / "gone").write_bytes(b"still read")
    with (at / "d" / "gone").open("rb", buffering=0) as gone, os.scandir(at) as listing:
        (at / "d" / "gone").unlink()
        (at / "empty").mkdir()
        (at / "d" / "a").rename(at / "d" / "b")
        (at / "d" / "b").chmod(0o600)
        number = (at / "d" / "b").stat().st_ino
        dead = kill_worker(host)

        assert gone.read() == b"still read"
        assert sorted(entry.name for entry in listing) == ["d", "empty"]
    seen = (at / "d" / "b").stat()
    assert (seen.st_ino, seen.st_mode & 0o777) == (number, 0o600)
    assert names(at) == ["d", "empty"]
    assert host.status().worker != dead
    host.release(20)
    assert not is_mounted(at)


def test_a_handle_whose_version_is_gone_is_stale(bench: Bench) -> None:
    """After a kill a handle reads the version that it was opened with, or ESTALE; never another."""
    (bench.store / "a").write_bytes(LARGE)
    host = bench.start()
    with (bench.at / "a").open("rb", buffering=0) as file:
        first = file.read(1000)
        host.status()
        _forget_cache(bench)
        (bench.store / "a").write_bytes(LARGE[::-1])
        kill_worker(host)

        with pytest.raises(OSError, match=r"[Ss]tale"):
            _read_on(file)
    assert first == LARGE[:1000]
    host.release(20)


def test_a_mount_survives_its_supervisor(bench: Bench) -> None:
    """Without the supervisor the worker goes on serving, and can be released."""
    (bench.store / "a").write_bytes(b"alpha")
    host = bench.start()
    os.kill(host.status().pid, 9)
    (bench.at / "b").write_bytes(b"beta")

    assert ((bench.at / "a").read_bytes(), (bench.store / "b").read_bytes()) == (b"alpha", b"beta")
    host.release(20)
    assert (is_mounted(bench.at), find_host(host.folder)) == (False, None)


def test_a_dead_host_is_cleared_by_the_next(bench: Bench) -> None:
    """A mount whose host was killed is dead until the next start, which clears and mounts it."""
    (bench.store / "a").write_bytes(b"alpha")
    host = bench.start()
    kill_host(host)
    with pytest.raises(OSError, match=r"not connected|abort"):
        (bench.at / "a").read_bytes()

    again = bench.start()
    assert (bench.at / "a").read_bytes() == b"alpha"
    again.release(20)


def test_a_worker_that_keeps_dying_is_given_up(bench: Bench) -> None:
    """After the deaths the order allows, callers get an error and the place is a plain folder."""
    host = bench.start(most_restarts=2)
    first = kill_worker(host)
    until(lambda: host.status().worker != first)
    kill_worker(host)

    until(lambda: find_host(host.folder) is None and not is_mounted(bench.at))
    assert list(bench.at.iterdir()) == []


def _read_on(file: io.FileIO) -> None:
    while file.read(1 << 20):
        pass


def _forget_cache(bench: Bench) -> None:
    for path in Path(bench.root / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
