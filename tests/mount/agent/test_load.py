"""A lot of output, a lot of jobs, and what an agent costs."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mount.agent.jobs import ROOT, Bench, Ended


def test_fifty_mebibytes_of_output_arrive_whole(bench: Bench) -> None:
    """All of a large output reaches stdout and the log, the last line included, in order."""
    bench.script("""
        import sys
        block = bytes(range(256)) * 4096
        for _ in range(50):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.write(b"the end")
        sys.stderr.write("on the other stream")
    """)

    ended = bench.start(bench.spec(inputs=(), outputs=())).end()

    whole = bytes(range(256)) * 4096 * 50 + b"the end"
    assert ended.out == whole
    assert "on the other stream" in ended.err
    log = (bench.run / "logs" / "output.log").read_bytes()
    assert log.replace(b"on the other stream", b"") == whole


def test_a_reader_that_leaves_does_not_stop_the_script(bench: Bench) -> None:
    """When nobody reads the agent's stdout any more the script ends normally and the log is whole."""
    agent = bench.start(bench.shell("echo first; seq 200000"))
    agent.until(b"first")
    assert agent.child.stdout is not None
    agent.child.stdout.close()

    _, err = agent.child.communicate(timeout=60)

    assert agent.child.returncode == 0, err
    assert (bench.run / "logs" / "output.log").read_text().endswith("\n199999\n200000\n")


def test_output_is_live(bench: Bench) -> None:
    """A line of a Python script is on the agent's stdout while the script still runs."""
    bench.script("print('now'); import sys, time; time.sleep(1000)")

    agent = bench.start(bench.spec(inputs=(), outputs=()))
    agent.until(b"now")

    assert agent.child.poll() is None
    agent.kill()


def test_thirty_two_jobs_at_once(tmp_path: Path) -> None:
    """As many jobs on one node at a time all end well, each with its own results."""
    benches = [Bench.make(tmp_path / str(index)) for index in range(32)]

    def job(bench: Bench) -> tuple[Ended, dict[str, str]]:
        bench.script("""
            import os
            text = open("images/labels.csv").read() + os.environ["AZUREML_RUN_ID"]
            open(os.environ["AZUREML_DATAREFERENCE_model"] + "/x", "w").write(text)
        """)
        spec = bench.spec(run_id=f"run_{bench.root.name}")
        return bench.start(spec).end(100), bench.stored()

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(job, benches))

    assert [(ended.code, stored) for ended, stored in results] == [
        (0, {"x": f"a,brun_{index}"}) for index in range(32)
    ]


def test_the_agent_costs_little(bench: Bench) -> None:
    """A job with a download takes at most thirty times the processor of a bare interpreter."""
    bench.script("pass")
    spec = bench.spec(inputs=(bench.input("labels", "labels.csv"),), outputs=())

    def agent(index: int) -> None:
        assert bench.start(spec, "--folder", str(bench.root / f"run{index}")).end().code == 0

    script = [sys.executable, str(bench.source / "train.py")]
    # Both inflate alike on a machine that others use.
    bare = min(_cpu(lambda: subprocess.check_call(script)) for _ in range(5))
    through = min(_cpu(lambda index=index: agent(index)) for index in range(3))  # type: ignore[misc]  # a default is bound

    assert through < 30 * bare


def test_what_is_not_used_is_not_loaded() -> None:
    """Before it has a job with such references the agent loads no engine, mount, cache or client."""
    code = "import mount.agent.run, sys; print(*sys.modules)"
    loaded = subprocess.check_output(
        [sys.executable, "-c", code], text=True, timeout=60, cwd=ROOT
    ).split()

    unused = ("datastores.transfer", "mount.fs", "mount.fuse", "mount.daemon", "mount.cache.node")
    assert [name for name in loaded if name.startswith(unused)] == []


def _cpu(act: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    act()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
