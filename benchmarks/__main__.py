"""`python -m benchmarks`: compare, or draw what was measured."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.correctness import check_peers
from benchmarks.mounts import compare as mounts
from benchmarks.mounts.peers import DEFAULT_PEERS
from benchmarks.mounts.peers import PEERS as MOUNT_PEERS
from benchmarks.mounts.works import works
from benchmarks.peers.peer import Direction
from benchmarks.peers.registry import PEERS
from benchmarks.plot import draw
from benchmarks.report import describe_budgets, load
from benchmarks.tools import cache_folder, find_python, find_tools
from benchmarks.transfer import Wish, compare_transfers
from benchmarks.workloads import workloads

_WORKLOADS = tuple(workloads(quick=False))
_RTTS_MS = (0, 1, 20, 100)
_RUNS = 5
_QUICK_ROUNDS = 3
_QUICK_WORKLOADS = ("small", "large")
_QUICK_RTTS_MS = (0, 20)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when everything that ran counted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_transfer(commands.add_parser("transfer", help="downloads and uploads, against the peers"))
    _add_mount(commands.add_parser("mount", help="mounts, against the peers and the local disk"))
    plot = commands.add_parser("plot", help="draw the charts of a results file again")
    plot.add_argument("results", type=Path)
    azurite = commands.add_parser("azurite", help="drive every peer against Azurite, unmeasured")
    azurite.add_argument("--peers", default=",".join(PEERS), help="%(default)s")
    overhead = commands.add_parser(
        "overhead", help="how much later a script starts through the agent"
    )
    overhead.add_argument("--runs", type=int, default=15, help="%(default)s")
    commands.add_parser("setup", help="find or fetch the tools, and stop")
    options = parser.parse_args(arguments)
    # Ended from outside, the processes and folders of a run must still be cleaned up.
    signal.signal(signal.SIGTERM, _end)
    match options.command:
        case "transfer":
            return compare_transfers(_wish(options, parser))
        case "mount":
            return mounts.compare_mounts(_mount_wish(options, parser))
        case "overhead":
            return _measure_overhead(options.runs)
        case "azurite":
            return check_peers(_choose(parser, "peer", options.peers, tuple(PEERS)))
        case "plot":
            results = load(options.results)
            print(describe_budgets(results))
            for path in draw(results, options.results.parent, options.results.stem):
                print(f"wrote {path}")
        case _:
            print(find_tools(cache_folder()))
    return 0


def _measure_overhead(runs: int) -> int:
    """Measured by an interpreter that has our libraries; the others here need none."""
    python = find_python(cache_folder())
    if python != Path(sys.executable):
        command = [str(python), "-m", "benchmarks", "overhead", "--runs", str(runs)]
        os.execv(python, command)
    from benchmarks.overhead import measure_overhead

    return measure_overhead(runs)


def _end(number: int, frame: object) -> NoReturn:
    """Leave in order, and only once: a second signal would interrupt the cleaning up."""
    del frame
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    everything = ",".join(_WORKLOADS)
    rtts = ",".join(map(str, _RTTS_MS))
    parser.add_argument("--workloads", help=everything)
    parser.add_argument("--peers", default=",".join(PEERS), help="%(default)s")
    parser.add_argument("--directions", default="download,upload", help="%(default)s")
    parser.add_argument("--rtt", help=f"simulated round trips in milliseconds: {rtts}")
    parser.add_argument("--no-faults", action="store_true", help="without failing requests")
    parser.add_argument("--runs", type=int, help=f"rounds: {_RUNS}")
    parser.add_argument("--seed", type=int, default=1, help="of the data and of fate")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for a run: %(default)s")
    parser.add_argument("--out", type=Path, default=_results("transfer"), help="%(default)s")
    parser.add_argument("--work", type=Path, default=_disk(), help="blobs, on a disk: %(default)s")
    parser.add_argument("--fast", type=Path, default=_memory(), help="targets: %(default)s")
    quick = f"{','.join(_QUICK_WORKLOADS)} in tiny sizes, one round, {_QUICK_RTTS_MS} ms"
    parser.add_argument("--quick", action="store_true", help=f"does it all work? {quick}")


def _add_mount(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--works", default=",".join(works(quick=True)), help="%(default)s")
    parser.add_argument(
        "--peers",
        default=",".join(DEFAULT_PEERS),
        help=f"%(default)s; known: {', '.join(MOUNT_PEERS)}",
    )
    parser.add_argument("--runs", type=int, help=f"rounds: {_RUNS}, {_QUICK_ROUNDS} when quick")
    parser.add_argument("--seed", type=int, default=1, help="of the data")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for a go: %(default)s")
    parser.add_argument("--out", type=Path, default=_results("mount"), help="%(default)s")
    parser.add_argument(
        "--work", type=Path, default=_disk(), help="blobs, caches, the floor: %(default)s"
    )
    parser.add_argument("--fast", type=Path, default=_memory(), help="uploads: %(default)s")
    parser.add_argument("--quick", action="store_true", help="the same in small sizes")


def _mount_wish(options: argparse.Namespace, parser: argparse.ArgumentParser) -> mounts.Wish:
    return mounts.Wish(
        works=_choose(parser, "work", options.works, tuple(works(quick=True))),
        peers=_choose(parser, "peer", options.peers, tuple(MOUNT_PEERS)),
        rounds=options.runs or (_QUICK_ROUNDS if options.quick else _RUNS),
        quick=options.quick,
        seed=options.seed,
        limit_seconds=options.limit,
        work=options.work,
        fast=options.fast,
        out=options.out,
    )


def _results(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"datastores-benchmarks/{name}.json"


def _disk() -> Path:
    return Path("/var/tmp")


def _memory() -> Path:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else Path(tempfile.gettempdir())


def _wish(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Wish:
    quick = options.quick
    chosen = options.workloads or ",".join(_QUICK_WORKLOADS if quick else _WORKLOADS)
    rtts = options.rtt or ",".join(map(str, _QUICK_RTTS_MS if quick else _RTTS_MS))
    return Wish(
        workloads=_choose(parser, "workload", chosen, _WORKLOADS),
        peers=_choose(parser, "peer", options.peers, tuple(PEERS)),
        directions=tuple(
            Direction(name)
            for name in _choose(
                parser, "direction", options.directions, tuple(one.value for one in Direction)
            )
        ),
        rtts_ms=tuple(int(text) for text in rtts.split(",")),
        with_faults=not options.no_faults,
        runs=options.runs or (1 if quick else _RUNS),
        quick=quick,
        seed=options.seed,
        limit_seconds=options.limit,
        work=options.work,
        fast=options.fast,
        out=options.out,
    )


def _choose(
    parser: argparse.ArgumentParser, noun: str, text: str, known: Sequence[str]
) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in known:
            parser.error(f'no {noun} "{name}" (known: {", ".join(known)})')
    return names


if __name__ == "__main__":
    sys.exit(main())
