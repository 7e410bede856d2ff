"""Crash consistency: hosts are killed at random moments, and nothing that was stored is lost.

Usage: python -m tests.mount.host.campaign [--minutes 10] [--seed N] [--store local|azurite]

Writers note outside the mount what close and fsync told them. Workers, or whole hosts, are killed
with SIGKILL. Afterwards every noted file is read through a fresh mount with an empty cache: it has
the bytes that were noted last, or bytes of which the writer said since that it was about to write
them. A campaign in which nothing was noted, or nothing was killed while writers worked, fails.
"""

from __future__ import annotations

import hashlib
import inspect
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from mount.host.host import Host
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.gate import Gate
from tests.mount.host.bench import Bench, is_mounted, kill_host, kill_worker, until
from tests.servers.azurite import Azurite, azurite

ROOT = Path(__file__).parents[3]
WRITERS = 2


@dataclass(slots=True)
class Tally:
    """What a campaign did and found; `lost` has a line per file that is not as it was noted."""

    kills: int = 0
    noted: int = 0
    checked: int = 0
    rounds: int = 0
    lost: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Raises when something was lost, or when nothing was put at risk."""
        assert self.lost == []
        assert self.kills > 0, "nothing was killed"
        assert self.noted > 0, "nothing was noted as stored"
        assert self.checked > 0, "nothing was checked"


@dataclass(slots=True)
class Told:
    """What a writer said of one file: what it was told is stored, and what it tried since."""

    done: str | None = None
    tried: set[str | None] = field(default_factory=set)

    def fits(self, digest: str | None) -> bool:
        return digest in self.tried or digest == self.done


def kill_workers(bench: Bench, seed: int, kills: int) -> Tally:
    """One host, whose workers are killed while writers write; no call may fail."""
    chance, tally = random.Random(seed), Tally(rounds=1)
    host = bench.start(f"host{seed}")
    with _writing(bench, seed, "worker") as lists:
        for _ in range(kills):
            _let_them_write(lists, chance)
            dead = kill_worker(host)
            until(lambda dead=dead: host.status().worker != dead)  # type: ignore[misc]  # bound now
            tally.kills += 1
        _let_them_write(lists, chance)
    kill_host(host)
    _check(bench, seed, lists, tally)
    return tally


def kill_hosts(bench: Bench, seed: int, kills: int) -> Tally:
    """Hosts that are killed with all their processes while writers write, one after the other."""
    chance, tally = random.Random(seed), Tally(rounds=1)
    lists: list[Path] = []
    for number in range(kills):
        host = bench.start(f"host{seed}")
        with _writing(bench, seed * 1000 + number, "host") as now:
            lists += now
            _let_them_write(now, chance)
            kill_host(host)
            tally.kills += 1
    _check(bench, seed, lists, tally)
    return tally


def read_notes(lists: list[Path]) -> dict[str, Told]:
    """What all writers said, by file."""
    found: dict[str, Told] = {}
    for line in (line for path in lists for line in path.read_text().splitlines()):
        word, name, digest = line.split(" ")
        told = found.setdefault(name, Told(tried={None}))
        match word:
            case "try":
                told.tried.add(digest)
            case "done":
                told.done, told.tried = digest, set()
            case "gone":
                told.tried.add(None)
    return found


@contextmanager
def _writing(bench: Bench, seed: int, mortal: str) -> Iterator[list[Path]]:
    """Writers at work; they end with the block, and none may have failed."""
    lists = [bench.root / f"list{seed}-{number}" for number in range(WRITERS)]
    writers = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.mount.host.writer",
                bench.at,
                path,
                path.name.removeprefix("list"),
                mortal,
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
        )
        for path in lists
    ]
    try:
        until(lambda: all(path.exists() for path in lists))
        yield lists
    finally:
        for writer in writers:
            assert writer.stdin
            writer.stdin.close()
        codes = [writer.wait(120) for writer in writers]
    assert codes == [0] * WRITERS, "a writer's call failed"


def _let_them_write(lists: list[Path], chance: random.Random) -> None:
    """Some lines more, and then a random moment in the middle of the next thing."""
    begun = sum(path.stat().st_size for path in lists)
    until(lambda: sum(path.stat().st_size for path in lists) > begun)
    time.sleep(chance.random() ** 2)  # the random moment: there is no event to wait for


def _check(bench: Bench, seed: int, lists: list[Path], tally: Tally) -> None:
    empty = bench.root / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    host: Host = bench.start(f"check{seed}", cache=empty)
    try:
        assert is_mounted(bench.at)
        for name, told in read_notes(lists).items():
            tally.noted += told.done is not None
            tally.checked += 1
            digest = _digest(bench.at / name)
            if not told.fits(digest):
                tally.lost.append(f"{name}: {digest}, not {told}")
    finally:
        host.release(60)


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


@contextmanager
def _benches(store: str) -> Iterator[Callable[[], Bench]]:
    """Fresh benches, each with an empty store of this kind."""

    def local() -> Bench:
        return Bench.make(Path(tempfile.mkdtemp(prefix="campaign-")))

    if store == "local":
        yield local
        return
    with (
        contextmanager(inspect.unwrap(azurite))(_Folders()) as server,
        Gate(_address(server)) as gate,
    ):

        def cloudy() -> Bench:
            bench, cloud = local(), Cloud.of(server, gate)
            bench.definition, bench.lease = cloud.definition, cloud.lease
            return bench

        yield cloudy


class _Folders:
    """What the fixture asks of pytest."""

    def mktemp(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"campaign-{name}-"))


def _address(server: Azurite) -> tuple[str, int]:
    address = urllib.parse.urlsplit(server.endpoint)
    assert address.hostname
    assert address.port
    return address.hostname, address.port


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="How long it goes on.")
@click.option("--seed", type=int, help="The first round's seed; a random one otherwise.")
@click.option("--store", type=click.Choice(["local", "azurite"]), default="local")
def main(minutes: float, seed: int | None, store: str) -> None:
    """Kill workers and hosts until the time is over, and say what was lost."""
    seed = random.randrange(1_000_000) if seed is None else seed
    deadline = time.monotonic() + minutes * 60
    total = Tally()
    with _benches(store) as make:
        while total.rounds == 0 or time.monotonic() < deadline:
            click.echo(f"round {total.rounds}, seed {seed}")
            for run in (kill_workers, kill_hosts):
                bench = make()
                try:
                    found = run(bench, seed, 8)
                finally:
                    bench.end()
                    shutil.rmtree(bench.root, ignore_errors=True)
                total.kills += found.kills
                total.noted += found.noted
                total.checked += found.checked
                total.lost += found.lost
            total.rounds += 1
            seed += 1
            click.echo(f"  {total.kills} kills, {total.noted} files stored, {total.lost} lost")
    total.judge()


if __name__ == "__main__":
    main()
