"""The comparison of mounts from beginning to end."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.mounts.data import Piece, make_data
from benchmarks.mounts.download import run_download
from benchmarks.mounts.outcome import Outcome
from benchmarks.mounts.peers import FLOOR, OURS, PEERS
from benchmarks.mounts.promises import PROMISES, judge
from benchmarks.mounts.report import describe_promises, describe_work, save
from benchmarks.mounts.tools import find_mount_tools
from benchmarks.mounts.turn import Stage, take_turn
from benchmarks.mounts.works import Work, plan_turns, works
from benchmarks.tools import cache_folder, say


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for on the command line."""

    works: tuple[str, ...]
    peers: tuple[str, ...]
    rounds: int
    quick: bool
    seed: int
    limit_seconds: float
    work: Path
    fast: Path
    out: Path


def compare_mounts(wish: Wish) -> int:
    """Run everything that was wished for; 0 when every run counted."""
    tools = find_mount_tools(cache_folder())
    chosen = [works(quick=wish.quick)[name] for name in wish.works]
    about = {
        **describe_machine(),
        "command": "python -m benchmarks " + " ".join(sys.argv[1:]),
        "peers": {name: PEERS[name].settings for name in wish.peers},
        "works": {work.name: work.title for work in chosen},
        "seed": wish.seed,
        "quick": wish.quick,
    }
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=wish.work) as work_folder,
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=wish.fast) as fast_folder,
    ):
        stage = Stage(tools, Path(work_folder), Path(fast_folder), wish.seed, wish.limit_seconds)
        for work in chosen:
            outcomes += _compare(wish, stage, work)
            print(describe_work(work, outcomes) + "\n", flush=True)
            save(about, outcomes, wish.out)
    print(describe_promises(judge(outcomes)))
    say(f"wrote {wish.out}")
    return 0 if all(outcome.counts for outcome in outcomes) else 1


def _compare(wish: Wish, stage: Stage, work: Work) -> list[Outcome]:
    pieces = _prepare(wish, stage, work)
    able = {name: PEERS[name].takes_writes for name in wish.peers}
    outcomes: list[Outcome] = []
    try:
        for turn in plan_turns([work], wish.peers, wish.rounds, able):
            say(f"{work.name}, round {turn.round}: {turn.peer}")
            outcomes += take_turn(stage, turn, PEERS[turn.peer], pieces)
            if turn.peer == OURS and _is_downloaded(work):
                outcomes.append(run_download(stage, turn))
    finally:
        shutil.rmtree(stage.blobs, ignore_errors=True)
        shutil.rmtree(stage.floor, ignore_errors=True)
    return outcomes


def _is_downloaded(work: Work) -> bool:
    return any(one.work == work.name and one.peer not in PEERS for one in PROMISES)


def _prepare(wish: Wish, stage: Stage, work: Work) -> Sequence[Piece]:
    stage.blobs.mkdir(parents=True, exist_ok=True)
    pieces = make_data(work, stage.blobs, wish.seed)
    if work.writes:
        shutil.rmtree(stage.blobs)
    elif FLOOR in wish.peers:
        # Sparse files stay sparse: the page cache is to hold what is read, no more.
        make_data(work, stage.floor, wish.seed)
    return pieces
