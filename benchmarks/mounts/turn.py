"""One turn: a fresh endpoint, a fresh mount with an empty cache, the clock, the proof afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.endpoint import Endpoint
from benchmarks.mounts.data import Piece, damages, names_of
from benchmarks.mounts.outcome import Outcome, objections, uncovered
from benchmarks.mounts.peers import MountPeer, Setting
from benchmarks.mounts.program import Done
from benchmarks.mounts.server import MountFailed, Server, Usage, served
from benchmarks.mounts.tools import MountTools
from benchmarks.mounts.works import Phase, Turn, Work
from benchmarks.sink import Sink
from benchmarks.workloads import fingerprint

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINER = "data"
_LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that stays the same from one turn to the next."""

    tools: MountTools
    # On a disk: blobs, the floor's files, everybody's cache.
    work: Path
    # In memory: what is uploaded.
    fast: Path
    seed: int
    limit_seconds: float

    @property
    def blobs(self) -> Path:
        return self.work / "blobs" / CONTAINER

    @property
    def floor(self) -> Path:
        return self.work / "floor"


def take_turn(stage: Stage, turn: Turn, peer: MountPeer, pieces: Sequence[Piece]) -> list[Outcome]:
    """The outcomes of the turn's phases; what went wrong is in them."""
    try:
        if peer.command is None:
            return _on_disk(stage, turn, pieces)
        return _mounted(stage, turn, peer, pieces)
    except (MountFailed, OSError, subprocess.SubprocessError) as error:
        return [_failed(turn, phase, str(error)) for phase in turn.work.phases]


def _mounted(stage: Stage, turn: Turn, peer: MountPeer, pieces: Sequence[Piece]) -> list[Outcome]:
    assert peer.command is not None
    work = turn.work
    sink = Sink(stage.fast / "sink" if work.writes else stage.work)
    with emptied(stage.work / "mount", stage.work / "cache", stage.work / "scratch") as folders:
        mountpoint, cache, scratch = folders
        with (
            _sunk(stage, work),
            Endpoint(
                stage.tools.common, sink, stage.work / "run", frozen=not work.writes
            ) as endpoint,
        ):
            setting = Setting(endpoint.address, mountpoint, cache, stage.tools, work.writes)
            with served(peer.command(setting), mountpoint, scratch) as server:
                outcomes = _phases(stage, turn, mountpoint, server, sink, pieces)
            wrong = _misplaced(sink, work, pieces) if work.writes else []
        wire = endpoint.count_traffic()
    traffic = wire.bytes_in if work.writes else wire.bytes_out
    return [_with(outcomes[0], *wrong, *uncovered(work, traffic)), *outcomes[1:]]


def _on_disk(stage: Stage, turn: Turn, pieces: Sequence[Piece]) -> list[Outcome]:
    """The floor: the same files on the local disk, out of the page cache at first."""
    work = turn.work
    if work.writes:
        with emptied(stage.work / "mount") as (folder,):
            return _phases(stage, turn, folder, Server(), None, ())
    for name in names_of(work):
        fd = os.open(stage.floor / name, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    return _phases(stage, turn, stage.floor, Server(), None, pieces)


def _phases(
    stage: Stage,
    turn: Turn,
    root: Path,
    server: Server,
    sink: Sink | None,
    pieces: Sequence[Piece],
) -> list[Outcome]:
    outcomes = []
    for phase in turn.work.phases:
        before = server.usage()
        done = _run(stage, turn.work, root)
        if turn.work.writes and sink is not None:
            done = _until_stored(stage, turn.work, sink, done)
        used = server.usage().since(before)
        outcomes.append(_outcome(turn, phase, done, used))
    # Empty files have no bytes that could be wrong.
    if turn.work.moved_bytes and not turn.work.writes:
        wrong = damages(root, pieces)
        outcomes = [_with(outcome, *wrong) for outcome in outcomes]
    return outcomes


def _run(stage: Stage, work: Work, root: Path) -> Done:
    order = {
        "work": {**asdict(work), "kind": work.kind.value},
        "root": str(root),
        "seed": stage.seed,
    }
    program = [str(stage.tools.common.python), "-m", "benchmarks.mounts.program"]
    answer = subprocess.run(
        program,
        input=json.dumps(order),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=stage.limit_seconds,
        check=False,
    )
    if answer.returncode:
        raise MountFailed(f"the program failed: {(answer.stderr.splitlines() or [''])[-1]}")
    return Done(**json.loads(answer.stdout))


def _until_stored(stage: Stage, work: Work, sink: Sink, done: Done) -> Done:
    """A write is over when the store has it, not when the program believes so."""
    started = time.monotonic()
    waiting = set(names_of(work))
    while waiting and time.monotonic() - started < stage.limit_seconds:
        waiting = {name for name in waiting if not _is_stored(sink, name, work.file_bytes)}
        if waiting:
            time.sleep(_LOOK_SECONDS)
    if waiting:
        raise MountFailed(f"{len(waiting)} files never arrived")
    return Done(done.seconds + time.monotonic() - started, done.files, done.bytes)


def _is_stored(sink: Sink, name: str, size: int) -> bool:
    try:
        return (sink.blobs / CONTAINER / name).stat().st_size == size
    except FileNotFoundError:
        return False


def _misplaced(sink: Sink, work: Work, pieces: Sequence[Piece]) -> list[str]:
    """What is wrong with what arrived."""
    arrived = sink.arrived(CONTAINER)
    wanted = {piece.name: piece.sha256 for piece in pieces}
    strangers = sorted(arrived.keys() - wanted.keys())
    wrong = [f'"{name}" was never written' for name in strangers]
    wrong += [
        f'"{name}" has other bytes'
        for name in names_of(work)
        if name not in arrived or fingerprint(arrived[name]).sha256 != wanted[name]
    ]
    return wrong[:1]


def _outcome(turn: Turn, phase: Phase, done: Done, used: Usage) -> Outcome:
    return Outcome(
        work=turn.work.name,
        phase=phase.value,
        peer=turn.peer,
        round=turn.round,
        seconds=round(done.seconds, 5),
        units=turn.work.units,
        cpu_seconds=round(used.cpu_seconds, 2),
        peak_rss_bytes=used.peak_rss_bytes,
        rejections=tuple(objections(turn.work, done)),
    )


def _failed(turn: Turn, phase: Phase, reason: str) -> Outcome:
    return Outcome(
        *(turn.work.name, phase.value, turn.peer, turn.round, 0.0, 0, 0.0, 0),
        rejections=(reason,),
    )


def _with(outcome: Outcome, *more: str) -> Outcome:
    return replace(outcome, rejections=(*outcome.rejections, *more))


@contextlib.contextmanager
def emptied(*folders: Path) -> Iterator[tuple[Path, ...]]:
    """Empty folders, gone at the end."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield folders
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _sunk(stage: Stage, work: Work) -> Iterator[None]:
    """Uploads land in memory, in a folder that is empty before and after."""
    if work.writes:
        with emptied(stage.fast / "sink"):
            yield
    else:
        yield
