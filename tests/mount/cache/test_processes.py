"""Many processes on one folder, killed and stopped at any moment."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from mount.cache.census import take_census
from mount.cache.layout import SMALLEST_BLOCK_BYTES, Layout, charge
from mount.cache.node_cache import NodeCache
from tests.mount.cache.content import content, whole
from tests.mount.cache.worker import AHEAD_BYTES, KEYS

ROOT = Path(__file__).parents[3]
WORKER = [sys.executable, "-W", "error", "-m", "tests.mount.cache.worker"]
PROCESSES = 8
SECONDS = 10.0
# About half of what the workers would like to keep.
QUOTA_BYTES = sum(charge(key.size) for key in KEYS) // 2


def start(folder: Path, seed: int, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*WORKER, str(folder), str(QUOTA_BYTES), str(seed), str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_and_stopped_processes_do_no_harm(tmp_path: Path) -> None:
    """Under kill -9, stops and evictions no process reads a wrong byte, errs, or loses its files.

    Afterwards every file is sound by its checksums, and the quota holds.
    """
    chance = random.Random(20)
    folder = tmp_path / "cache"
    end = time.monotonic() + SECONDS
    workers = [start(folder, seed, SECONDS) for seed in range(PROCESSES)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    finished: list[subprocess.Popen[str]] = []
    killed = stopped = 0
    most = 0
    layout = Layout(folder / "v1")

    while time.monotonic() < end - 1.0:
        victim = chance.randrange(PROCESSES)
        worker = workers[victim]
        try:
            # The pause between two blows is the experiment, not a wait for something.
            worker.wait(chance.uniform(0.0, 0.15))
        except subprocess.TimeoutExpired:
            if killed % 3 == 0:
                worker.send_signal(signal.SIGSTOP)
                stopped += 1
                most = max(most, take_census(layout, time.time_ns())[1])
            worker.kill()
            worker.communicate(timeout=30)
            killed += 1
        else:
            finished.append(worker)
        workers[victim] = start(folder, chance.randrange(10**6), end - time.monotonic())
    outputs = [worker.communicate(timeout=60) for worker in workers]
    outputs += [worker.communicate(timeout=30) for worker in finished]

    cache = NodeCache.open(folder, quota_bytes=QUOTA_BYTES, reserve_bytes=0)
    status, findings = cache.status(), cache.verify()
    cache.close()
    after_power_cut = NodeCache.open(
        folder, quota_bytes=QUOTA_BYTES, reserve_bytes=0, boot="the next"
    )
    found = {key: held for key in KEYS if (held := after_power_cut.find(key))}
    assert {key for key, held in found.items() if whole(held) != content(key)} == set()
    after_power_cut.close()
    assert "\n".join(error for _, error in outputs).strip() == ""
    assert {worker.returncode for worker in [*workers, *finished]} == {0}
    assert findings.damaged == ()
    assert len(found) == status.files
    assert status.bytes + status.partial_bytes <= QUOTA_BYTES
    # Blocks under way when a census was taken are the only ones it may have missed; what was taken
    # ahead is counted twice where it was used.
    under_way = 2 * PROCESSES * 6 * SMALLEST_BLOCK_BYTES
    assert most <= QUOTA_BYTES + under_way + PROCESSES * AHEAD_BYTES
    assert min(killed, stopped, status.evictions, status.hits, status.files) > 0


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    """A file that a killed process held can be evicted, one that a living process holds cannot."""
    folder = tmp_path / "cache"
    code = (
        "import sys; from pathlib import Path; from mount.cache.node_cache import NodeCache;"
        "from tests.mount.cache.content import content, key_for;"
        "cache = NodeCache.open(Path(sys.argv[1]), quota_bytes=1 << 30, reserve_bytes=0);"
        "key = key_for(1, 1000); held = cache.put(key, content(key));"
        "print('holding', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    cache = NodeCache.open(folder, quota_bytes=1 << 30, reserve_bytes=0)

    alive = cache.status().in_use_files, cache.clear()
    holder.kill()
    holder.communicate(timeout=30)
    dead = cache.status().in_use_files, cache.clear()

    assert (alive, dead) == ((1, 0), (0, charge(1000)))
    cache.close()
