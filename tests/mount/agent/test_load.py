"""A lot of output, a lot of jobs, and what an agent costs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mount.agent.jobs import Bench, Ended


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


def test_the_script_starts_soon(
    bench: Bench, record_property: Callable[[str, object], None]
) -> None:
    """An entry script with a download starts at most three seconds later than without an agent."""
    bench.script("import time; print(time.time())")
    spec = bench.spec(inputs=(bench.input("labels", "labels.csv"),), outputs=())
    bare: list[float] = []
    agent: list[float] = []
    for index in range(3):
        began = time.time()
        script = [sys.executable, str(bench.source / "train.py")]
        bare.append(float(subprocess.check_output(script)) - began)
        began = time.time()
        ended = bench.start(spec, "--folder", str(bench.root / f"run{index}")).end()
        agent.append(float(ended.out) - began)

    later = min(agent) - min(bare)
    record_property("seconds_later", later)
    assert later < 3
