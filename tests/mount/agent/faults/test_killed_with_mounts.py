"""kill -9 of an agent whose job has mounts: nothing stale stays, nothing written is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datastores.contract import InputMode, JobSpec, OutputMode
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.faults.waiting import await_line
from tests.mount.agent.jobs import Bench

_WRITES = """
    import os, pathlib, time
    data = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_train"])
    out = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
    assert os.path.ismount(data) and os.path.ismount(out)
    (out / "x").write_text((data / "a.txt").read_text())
    print("written", flush=True)
    if (pathlib.Path(os.environ["WAITS"])).exists():
        time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def _nothing_stays_mounted(tmp_path: Path) -> Iterator[None]:
    yield
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    assert [line for line in lines if str(tmp_path) in line] == []


def _mounted(cloud: Cloud, bench: Bench, *, waits: bool = True) -> JobSpec:
    spec = cloud.input_from(bench)
    flag = bench.root / "waits"
    if waits:
        flag.touch()
    return replace(
        spec,
        inputs=(replace(spec.inputs[0], mode=InputMode.MOUNT),),
        outputs=(
            bench.output(
                "model",
                "runs/1",
                mode=OutputMode.MOUNT,
                definition=cloud.definition,
                lease=cloud.lease,
            ),
        ),
        environment={"WAITS": str(flag)},
    )


def test_killed_while_running(bench: Bench, cloud: Cloud) -> None:
    """The next agent takes dead mounts away, and what was closed is in the store, without manifest."""
    bench.script(_WRITES)
    agent = bench.start(_mounted(cloud, bench))
    agent.until(b"written")
    agent.kill()

    ended = bench.resume().end()

    assert (ended.code, cloud.stored()) == (137, {"x": b"alpha"}), ended.err
    report = bench.report()
    assert (report["status"], report["ending"]) == ("Failed", "interrupted")
    assert report["failures"] == []


def test_killed_while_running_before_anything_arrived(bench: Bench, cloud: Cloud) -> None:
    """What the script had written to a store that did not answer is sent by the next agent."""
    bench.script("""
        import os, pathlib, time
        out = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
        with open(out / "x", "w") as file:
            print("opened", flush=True)
            os.open("go", os.O_RDONLY)
            file.write("kept")
    """)
    work = bench.run / "work"
    work.mkdir(parents=True)
    os.mkfifo(work / "go")
    agent = bench.start(_mounted(cloud, bench))
    agent.until(b"opened")
    cloud.gate.close()
    os.close(os.open(work / "go", os.O_WRONLY))
    assert cloud.gate.reached.wait(30)
    agent.kill()
    cloud.gate.open()

    ended = bench.resume().end()

    assert (ended.code, cloud.stored()) == (137, {"x": b"kept"}), ended.err


def test_killed_while_releasing(bench: Bench, cloud: Cloud) -> None:
    """An agent killed between the script's end and its manifest is followed by one that seals."""
    bench.script(_WRITES)
    agent = bench.start(_mounted(cloud, bench, waits=False))
    await_line(bench, {"event": "exited", "code": 0})
    agent.kill()

    ended = bench.resume().end()

    assert (ended.code, cloud.stored()) == (0, {"x": b"alpha"}), ended.err
    assert [one["name"] for one in cloud.manifest()["files"]] == ["x"]


def test_killed_while_staging(bench: Bench, cloud: Cloud) -> None:
    """An agent killed between a mount and the script's start is followed by one that does both."""
    bench.script("""
        import os, pathlib
        data = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_data"])
        assert os.path.ismount(data)
        print((data / "a.txt").read_text(), os.listdir("cloud/train"))
    """)
    given = (bench.input("data", "train", mode=InputMode.MOUNT), cloud.input_from(bench).inputs[0])
    cloud.gate.close()
    agent = bench.start(bench.spec(inputs=given, outputs=()))
    await_line(bench, {"event": "ready", "name": "data"})
    assert cloud.gate.reached.wait(30)
    agent.kill()
    cloud.gate.open()

    ended = bench.resume().end()

    assert (ended.code, ended.out) == (0, b"alpha ['a.txt']\n"), ended.err
