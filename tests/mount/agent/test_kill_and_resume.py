"""kill -9 of the agent in each phase, and what the next one makes of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from mount.agent import lease_keep
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.jobs import Bench

_TWO_FILES = """
    import os, pathlib
    out = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
    with open(os.environ["COUNT"], "a") as count:
        count.write("ran\\n")
    (out / "x").write_text("one")
    (out / "y").write_text("two")
"""


def test_killed_while_staging_it_fetches_the_rest_and_runs(bench: Bench, cloud: Cloud) -> None:
    """An agent killed during a download is followed by one that fetches what is missing only."""
    bench.script(
        "import os; print(sorted(os.listdir('cloud/train')), open('images/labels.csv').read())"
    )
    spec = cloud.input_from(bench)
    cloud.gate.close()
    agent = bench.start(spec)
    assert cloud.gate.reached.wait(30)
    _await_line(bench, {"event": "ready", "name": "labels"})
    before = (bench.run / "work" / "images" / "labels.csv").stat().st_ino
    agent.kill()

    cloud.gate.open()
    ended = bench.resume().end()

    # The script writes nothing, so the output that is kept always is an empty folder.
    assert (ended.code, ended.out) == (0, b"['a.txt'] a,b\n")
    assert (bench.run / "work" / "images" / "labels.csv").stat().st_ino == before


def test_killed_while_running_what_was_written_is_kept(bench: Bench) -> None:
    """An agent killed with its script is followed by one that sends what is on the disk."""
    bench.script("""
        import os, pathlib, subprocess, time
        out = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
        (out / "x").write_text("kept")
        child = subprocess.Popen(["sleep", "1000"])
        print("written", os.getpid(), child.pid, flush=True)
        time.sleep(1000)
    """)
    agent = bench.start(bench.spec())
    assert agent.child.stdout is not None
    pids = [int(pid) for pid in agent.child.stdout.readline().split()[1:]]
    agent.signal(signal.SIGKILL)
    agent.child.wait()
    _await_end(pids[0])

    ended = bench.resume().end()

    _await_end(pids[1])
    agent.end()
    assert (ended.code, bench.stored()) == (137, {"x": "kept"})
    assert bench.report()["ending"] == "interrupted"
    assert not (bench.store / "runs" / "1" / "_manifest.json").exists()


def test_killed_while_flushing_nothing_is_lost_or_sent_twice(bench: Bench, cloud: Cloud) -> None:
    """An agent killed during the uploads is followed by one that sends the rest, and seals."""
    bench.script(_TWO_FILES)
    count = bench.root / "count"
    spec = cloud.output_to(bench, environment={"COUNT": str(count)})
    cloud.gate.close()
    agent = bench.start(spec)
    assert cloud.gate.reached.wait(30)
    _await_line(bench, {"event": "exited", "code": 0})
    agent.kill()

    cloud.gate.open()
    ended = bench.resume().end()

    assert (ended.code, cloud.stored()) == (0, {"x": b"one", "y": b"two"})
    assert [one["name"] for one in cloud.manifest()["files"]] == ["x", "y"]
    assert count.read_text() == "ran\n"
    before = cloud.versions()
    assert bench.resume().end().code == 0
    assert cloud.versions() == before


@pytest.mark.parametrize("lines", range(1, 14))
def test_killed_after_any_line_of_its_journal(bench: Bench, lines: int) -> None:
    """Wherever the journal ends, the next agent brings the run to its end; no object is rewritten."""
    bench.script(_TWO_FILES)
    count = bench.root / "count"
    spec = bench.spec(environment={"COUNT": str(count)})
    assert bench.start(spec).end().code == 0
    written = bench.writes()
    kept = (bench.run / "journal").read_text().splitlines(keepends=True)[:lines]
    was_started = any('"started"' in line for line in kept)
    has_exited = any('"exited"' in line for line in kept)
    # As after a kill: the journal ends here, in the middle of a line.
    (bench.run / "journal").write_text("".join(kept) + "0000")
    if not was_started:
        # A script that is not in the journal has not written anything yet.
        for name in ("x", "y"):
            (bench.run / "work/images/runs/1" / name).unlink()
            (bench.store / "runs" / "1" / name).unlink()
    for name, path in (("train", "train"), ("labels", "labels.csv")):
        # Likewise an input whose fetching is not in the journal.
        if not any(f'"fetching", "name": "{name}"' in line for line in kept):
            target = bench.run / "work" / "images" / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    ended = bench.resume().end()

    assert ended.code == (0 if has_exited or not was_started else 137), ended.err
    assert bench.stored() == {"x": "one", "y": "two"}
    assert count.read_text().count("ran") == (1 if was_started else 2)
    if was_started:
        assert bench.writes() == written


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment(bench: Bench, seed: int) -> None:
    """Agents killed at random moments are followed by one that ends it, with every result kept."""
    bench.script(_TWO_FILES)
    count = bench.root / "count"
    count.touch()
    spec = bench.spec(environment={"COUNT": str(count)})
    chance = random.Random(seed)

    for _ in range(3):
        agent = bench.start(spec)
        # The moment is the point; there is no event to wait for.
        time.sleep(chance.uniform(0.1, 0.9))
        agent.kill()
    ended = bench.start(spec).end()

    local = bench.run / "work/images/runs/1"
    assert ended.code in (0, 137), ended.err
    assert bench.stored() == {path.name: path.read_text() for path in local.iterdir()}
    assert (bench.store / "runs/1/_manifest.json").exists() == (ended.code == 0)
    assert count.read_text().count("ran") <= 1
    sent = [line["file"]["name"] for line in bench.journal() if line["event"] == "sent"]
    assert len(sent) == len(set(sent))


def test_the_same_run_started_again_goes_on(bench: Bench) -> None:
    """`run` with the same job and folder does nothing that is done; another job is refused."""
    bench.script(_TWO_FILES)
    count = bench.root / "count"
    spec = bench.spec(environment={"COUNT": str(count)})
    first = bench.start(spec).end()
    second = bench.start(spec).end()
    other = bench.start(bench.spec(run_id="run_2")).end()

    assert (first.code, second.code, other.code) == (0, 0, 21)
    assert count.read_text() == "ran\n"
    assert "holds another run" in other.err


def test_two_agents_do_not_share_a_run(bench: Bench) -> None:
    """While one agent works in a folder, another is refused."""
    agent = bench.start(bench.shell("echo begun; exec sleep 1000"))
    agent.until(b"begun")

    other = bench.resume().end()
    agent.signal(signal.SIGTERM)
    agent.end()

    assert other.code == 21
    assert "another agent works in" in other.err


def test_leases_are_never_on_the_disk(bench: Bench, cloud: Cloud) -> None:
    """No file of the run's folder holds a lease, also not after a crash; in memory it ends too."""
    bench.script(_TWO_FILES)
    spec = cloud.output_to(bench, environment={"COUNT": str(bench.root / "count")})
    cloud.gate.close()
    agent = bench.start(spec)
    assert cloud.gate.reached.wait(30)
    agent.kill()
    secret = cloud.lease.credential.token.reveal().encode()  # type: ignore[attr-defined]  # a SAS

    files = [path for path in bench.run.rglob("*") if path.is_file()]
    kept = lease_keep._path(bench.run)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert not [path for path in files if secret in path.read_bytes()]
    cloud.gate.open()
    assert bench.resume().end().code == 0
    assert not kept.exists()


def _await_line(bench: Bench, line: dict[str, object]) -> None:
    until = time.monotonic() + 30
    while not ((bench.run / "journal").exists() and line in bench.journal()):
        assert time.monotonic() < until, f"no {line} in the journal"
        time.sleep(0.01)  # no event tells that another process has written


def _await_end(pid: int) -> None:
    until = time.monotonic() + 30
    while _is_alive(pid):
        assert time.monotonic() < until, f"{pid} lives on"
        time.sleep(0.01)  # no event tells that a stranger's child is gone


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
