"""Stores, disks and leases that fail: bounded, and one clear sentence."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datastores.contract import JobSpec, LeaseSpec
from datastores.credentials.kinds import Anonymous
from datastores.definitions import BlobContainer
from datastores.names import DatastoreName
from tests.mount.agent.cloud import Cloud
from tests.mount.agent.jobs import Bench

_WRITES = """
    import os
    open(os.environ["AZUREML_DATAREFERENCE_model"] + "/x", "w").write("kept")
"""


def test_a_store_that_is_unreachable_at_the_start(bench: Bench) -> None:
    """An input whose store does not answer ends the run with 22, soon, naming input and store."""
    bench.script("print('started')")
    spec = bench.spec(
        inputs=(bench.input("train", "train", definition=_nobody(), lease=_open_lease()),)
    )
    began = time.monotonic()

    ended = bench.start(spec).end()

    assert (ended.code, ended.out) == (22, b"")
    assert ended.err.count('input "train" could not be provided') == 1
    assert '"nobody" is unavailable' in ended.err
    assert time.monotonic() - began < 40


def test_a_store_that_is_unreachable_at_the_end(bench: Bench) -> None:
    """An output whose store does not answer ends with 23, says where the files are, and resumes."""
    bench.script(_WRITES)
    spec = bench.spec(
        outputs=(bench.output("model", "runs/1", definition=_nobody(), lease=_open_lease()),)
    )

    ended = bench.start(spec).end()

    path = bench.run / "work" / "nobody" / "runs" / "1"
    assert ended.code == 23
    assert f'the files are still at "{path}", resume the run to send them' in ended.err
    assert (path / "x").read_text() == "kept"
    assert not bench.report()["is_settled"]


def test_an_expired_lease_says_when(bench: Bench, cloud: Cloud) -> None:
    """A lease that has ended is named with its end, on stderr and in the agent's log."""
    bench.script("")
    spec = cloud.input_from(bench)
    stale = replace(spec.inputs[0], lease=replace(cloud.lease, expires_at=1_700_000_000.0))

    ended = bench.start(replace(spec, inputs=(stale,))).end()

    sentence = 'credential of "cloud": expired at 2023-11-14T22:13:20+00:00'
    assert ended.code == 22
    assert sentence in ended.err
    assert sentence in (bench.run / "logs" / "agent.log").read_text()


def test_a_lease_that_ends_during_the_run(bench: Bench, cloud: Cloud) -> None:
    """An output whose lease ended while the script ran names that end; a fresh spec delivers it."""
    bench.script(_WRITES + "    import time; time.sleep(1.5)\n")
    spec = cloud.output_to(bench)
    # Started at once, so that nothing is sent early.
    ends = time.time() + 0.5
    stale = replace(spec.outputs[0], lease=replace(cloud.lease, expires_at=ends))

    ended = bench.start(replace(spec, outputs=(stale,))).end()
    again = bench.start(spec).end()

    assert (ended.code, "expired at" in ended.err) == (23, True)
    assert (again.code, cloud.stored()) == (0, {"x": b"kept"})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_while_staging(bench: Bench, small_disk: Path) -> None:
    """An input that does not fit ends the run with one sentence about the disk."""
    bench.script("print('started')")
    (bench.store / "train" / "big").write_bytes(bytes(3 << 20))

    ended = bench.start(bench.spec(), "--folder", str(small_disk / "run")).end()

    assert (ended.code, ended.out) == (22, b"")
    assert ended.err.count("does not fit on the disk") >= 1
    assert not (small_disk / "run/work/images/train").exists()


def test_a_full_disk_while_running(bench: Bench, small_disk: Path) -> None:
    """A script that fills the disk, log and all, is not held up, and what it wrote is sent."""
    bench.script("""
        import os, sys
        out = os.environ["AZUREML_DATAREFERENCE_model"]
        open(out + "/x", "w").write("kept")
        try:
            open(out + "/fill", "wb", buffering=0).write(bytes(2 << 20))
        except OSError:
            pass
        os.truncate(out + "/fill", 0)
        sys.stdout.write("o" * (2 << 20))
    """)

    agent = bench.start(bench.spec(inputs=()), "--folder", str(small_disk / "run"))
    ended = agent.end()

    assert (ended.code, len(ended.out)) == (0, 2 << 20), ended.err
    assert bench.stored() == {"fill": "", "x": "kept"}
    assert ended.err.count("the log takes no more output") == 1


def test_the_end_to_end_through_a_service(bench: Bench, cloud: Cloud) -> None:
    """Inputs from and an output to a blob service, through leases, with large and small files."""
    bench.script("""
        import os, pathlib
        out = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
        (out / "deep" / "er").mkdir(parents=True)
        (out / "deep" / "er" / "small").write_text(open("cloud/train/a.txt").read())
        (out / "large").write_bytes(b"0123456789abcdef" * (20 << 16))
    """)
    spec = cloud.input_from(bench)
    spec = replace(spec, outputs=cloud.output_to(bench).outputs)

    ended = bench.start(spec).end()

    assert ended.code == 0, ended.err
    assert cloud.stored() == {
        "deep/er/small": b"alpha",
        "large": b"0123456789abcdef" * (20 << 16),
    }
    listed = {one["name"]: (one["size"], len(one["md5"])) for one in cloud.manifest()["files"]}
    assert listed == {"deep/er/small": (5, 32), "large": (20 << 20, 32)}


def _nobody() -> BlobContainer:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return BlobContainer(
        DatastoreName("nobody"), "box", "account", endpoint=f"http://127.0.0.1:{port}/account"
    )


def _open_lease() -> LeaseSpec:
    return LeaseSpec(Anonymous())


def test_a_second_folder_is_not_a_result(bench: Bench) -> None:
    """A file of the script's own called like the manifest is refused by name, not overwritten."""
    bench.script(
        "import os; open(os.environ['AZUREML_DATAREFERENCE_model'] + '/_manifest.json', 'w')"
    )
    spec: JobSpec = bench.spec()

    ended = bench.start(spec).end()

    assert ended.code == 23
    assert '"_manifest.json" in "model" already exists' in ended.err
