"""A job with real mounts: inputs are read through the kernel, outputs are durable at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datastores.contract import InputMode, InputSpec, OutputMode, OutputSpec
from mount.agent.fuse_mounts import FuseMounter
from mount.agent.mounting import MountWish
from mount.agent.run import run
from mount.agent.settings import MountFallback, Settings
from mount.errors import MountRefused
from mount.fuse.mounts import find_mount
from tests.mount.agent.jobs import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Folders for a job; no mount is left below them."""
    yield Bench.make(tmp_path)
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    assert [line for line in lines if str(tmp_path) in line] == []


@pytest.fixture
def mounter(tmp_path: Path) -> FuseMounter:
    return FuseMounter(tmp_path / "spools", tmp_path / "cache")


def test_a_job_reads_and_writes_through_mounts(bench: Bench, mounter: FuseMounter) -> None:
    """The script finds a kernel mount at its variable, and what it wrote is in the store."""
    bench.script(
        """
        import os, pathlib
        data = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_data"])
        model = pathlib.Path(os.environ["AZUREML_DATAREFERENCE_model"])
        assert os.path.ismount(data) and os.path.ismount(model), (data, model)
        words = [(data / name).read_text() for name in ("a.txt", "cats/b.txt")]
        temporary = model / "weights.tmp"
        temporary.write_text(" ".join(words))
        temporary.rename(model / "weights.txt")
        """
    )
    spec = replace(
        bench.spec(),
        inputs=(InputSpec("data", InputMode.MOUNT, bench.definition, "train"),),
        outputs=(OutputSpec("model", OutputMode.MOUNT, bench.definition, "models/7"),),
    )

    report = run(spec, bench.run, Settings(mounter=mounter, mount_fallback=MountFallback.ERROR))

    assert report.exit_code == 0
    read, written = report.inputs[0].data, report.outputs[0].data
    # What is sent was written, and what is read was fetched once.
    assert (written["bytes_written"], written["bytes_sent"]) == (10, 10)
    assert (read["bytes_fetched"], read["requests"] > 0, read["hit_rate"]) == (9, True, 0.0)
    assert read["blocked_seconds"] > 0
    assert (bench.store / "models" / "7" / "weights.txt").read_text() == "alpha beta"
    assert not (bench.store / "models" / "7" / "weights.tmp").exists()


def test_an_input_mount_cannot_be_written(bench: Bench, mounter: FuseMounter) -> None:
    """A mounted input is read-only, whoever the script is."""
    at = bench.root / "here"
    mounted = mounter.mount(MountWish("data", bench.definition, "train", at, is_writable=False))
    try:
        with pytest.raises(OSError, match="Read-only"):
            (at / "new").write_text("x")
        assert (at / "a.txt").read_text() == "alpha"
    finally:
        mounted.release(20)

    assert find_mount(str(at)) is None


def test_a_single_file_is_not_mounted(bench: Bench, mounter: FuseMounter) -> None:
    """A reference to one file is refused here, so that it is copied to the same path."""
    wish = MountWish("l", bench.definition, "labels.csv", bench.root / "l.csv", is_writable=False)

    with pytest.raises(MountRefused, match="single file"):
        mounter.mount(wish)
    assert not os.path.lexists(wish.at)


def test_this_host_can_mount(mounter: FuseMounter) -> None:
    """Where these tests run nothing stands against mounting; otherwise they would prove nothing."""
    assert mounter.refusal() is None
