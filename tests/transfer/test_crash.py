"""Killed at any moment, run again: nothing is torn, and what had arrived is not moved again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from datastores.storage.local import LocalStore
from datastores.transfer import Options, download, upload
from datastores.transfer.ranges import SMALLEST
from tests.transfer.folder import files_in, hidden_in, objects_in
from tests.transfer.slow_store import SlowStore
from tests.transfer.synthetic import content

KILLS = 5
# Lines a run of its own would print, about: a kill after any of them must be survived.
MOST_LINES = {"download": 120, "upload": 60}


def make_source(root: Path) -> dict[str, bytes]:
    """Two large files and many small ones."""
    wanted = {f"d{n % 7}/s{n}": content(n, 1000 + n) for n in range(300)}
    wanted |= {f"big{n}": content(n, 5 * SMALLEST + n) for n in range(2)}
    for name, body in wanted.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return wanted


def run_and_kill(verb: str, source: Path, target: Path, after_lines: int) -> bool:
    """Run a copy in a process of its own and kill -9 it; whether it was still at work."""
    command = [sys.executable, "-m", "tests.transfer.copier", verb, str(source), str(target)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for _ in range(after_lines):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
    return not rest.endswith("done\n")


def kill_at_random_moments(verb: str, source: Path, target: Path, whole: Callable[[], int]) -> int:
    """Kill a copy several times, somewhere; how often it was caught with work half done."""
    seed = random.randrange(10**9)
    sys.stdout.write(f"seed {seed}\n")
    moments = random.Random(seed)
    caught = 0
    for _ in range(KILLS):
        if run_and_kill(verb, source, target, moments.randrange(1, MOST_LINES[verb])) and whole():
            caught += 1
    return caught


@pytest.mark.timeout(110)
def test_a_killed_download_goes_on(tmp_path: Path) -> None:
    """After kills at random moments no file is torn, and the last run moves only what is missing."""
    source, target = tmp_path / "source", tmp_path / "target"
    wanted = make_source(source)
    target.mkdir()

    def check_and_count() -> int:
        arrived = files_in(target)
        assert arrived == {name: wanted[name] for name in arrived}
        return len(arrived) + len(hidden_in(target))

    caught = kill_at_random_moments("download", source, target, check_and_count)
    arrived = files_in(target)
    claimed = sum(
        path.read_bytes().count(b"\n") - 1 for path in target.rglob("*.datastores-journal")
    )
    store = LocalStore("s", source)
    summary = download(store, "", target, options=Options(small_bytes=1 << 20))

    assert caught >= 2, "nothing was caught half-way, so nothing was proved"
    assert (files_in(target), hidden_in(target)) == (wanted, [])
    missing = sum(len(body) for name, body in wanted.items() if name not in arrived)
    assert summary.bytes + summary.resumed_bytes == missing
    assert summary.resumed_bytes >= max(0, claimed - 1) * SMALLEST


@pytest.mark.timeout(110)
def test_a_killed_upload_goes_on(tmp_path: Path) -> None:
    """After kills at random moments no object is torn, and blocks that were sent are used."""
    source, target = tmp_path / "source", tmp_path / "target"
    wanted = make_source(source)
    target.mkdir()
    blocks = Path(f"{target}.blocks")

    def check_and_count() -> int:
        arrived = objects_in(LocalStore("t", target))
        assert arrived == {name: wanted[name] for name in arrived}
        return len(arrived) + sum(path.is_file() for path in blocks.rglob("*"))

    caught = kill_at_random_moments("upload", source, target, check_and_count)
    staged = sum(path.stat().st_size for path in blocks.rglob("*-*") if path.suffix != ".tmp")
    store = SlowStore(LocalStore("t", target))
    summary = upload(store, source, "", options=Options(small_bytes=1 << 20))

    assert caught >= 2, "nothing was caught half-way, so nothing was proved"
    assert objects_in(LocalStore("t", target)) == wanted
    assert summary.resumed_bytes == staged
