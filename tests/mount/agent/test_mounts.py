"""Mounts as the agent drives them, with a mounter that shows folders of the store as they are."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datastores.contract import InputMode, LeaseSpec, OutputMode
from datastores.definitions import LocalFolder
from mount.agent.mounting import MountWish
from mount.agent.report import RunReport
from mount.agent.run import run
from mount.agent.settings import MountFallback, Settings
from mount.errors import MountRefused, OutputFailed
from tests.mount.agent.jobs import Bench


@dataclass
class LinkMounter:
    """Mounts by a link to the folder, and remembers what is mounted."""

    refuses: frozenset[str] = frozenset()
    loses: frozenset[str] = frozenset()
    mounted: set[str] = field(default_factory=set)
    wishes: list[MountWish] = field(default_factory=list)
    renewed: dict[str, LeaseSpec] = field(default_factory=dict)
    troubles: Mapping[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refusal(self) -> str | None:
        return None

    def mount(self, wish: MountWish) -> LinkMount:
        if wish.name in self.refuses:
            raise MountRefused(str(wish.at), "the device is busy")
        assert isinstance(wish.definition, LocalFolder)
        folder = Path(wish.definition.path) / wish.place
        folder.mkdir(parents=True, exist_ok=True)
        wish.at.symlink_to(folder)
        with self.lock:
            self.mounted.add(wish.name)
            self.wishes.append(wish)
        return LinkMount(self, wish)


@dataclass
class LinkMount:
    """One link."""

    mounter: LinkMounter
    wish: MountWish

    def release(self, bound_seconds: float) -> None:
        with self.mounter.lock:
            self.mounter.mounted.discard(self.wish.name)
        self.wish.at.unlink(missing_ok=True)
        if self.wish.name in self.mounter.loses:
            raise OutputFailed(self.wish.name, "the store did not answer")

    def renew(self, lease: LeaseSpec) -> None:
        with self.mounter.lock:
            self.mounter.renewed[self.wish.name] = lease

    def trouble(self) -> str | None:
        return self.mounter.troubles.get(self.wish.name)

    def keep_versions(self, bound_seconds: float) -> None:
        """A link notes nothing."""

    def counters(self) -> Mapping[str, int]:
        return {"reads": 7}


def _run(
    bench: Bench,
    text: str,
    mounter: LinkMounter,
    mount_fallback: MountFallback = MountFallback.COPY,
) -> RunReport:
    bench.script(text)
    spec = bench.spec(
        inputs=(bench.input("train", "train", mode=InputMode.MOUNT),),
        outputs=(bench.output("model", "runs/1", mode=OutputMode.MOUNT),),
    )
    with Path(os.devnull).open("wb") as nowhere:
        shown = nowhere.fileno()
        return run(spec, bench.run, Settings(mount_fallback, mounter, shown, shown))


_COPIES = """
import os
text = open(os.environ["AZUREML_DATAREFERENCE_train"] + "/a.txt").read()
open(os.environ["AZUREML_DATAREFERENCE_model"] + "/x", "w").write(text)
"""


def test_a_mounted_input_and_output(bench: Bench) -> None:
    """Through mounts the script reads and writes, both are released, and the result is sealed."""
    mounter = LinkMounter()

    report = _run(bench, _COPIES, mounter)

    assert (report.exit_code, bench.stored(), mounter.mounted) == (0, {"x": "alpha"}, set())
    assert [
        (one.how, one.state, dict(one.counters)) for one in (*report.inputs, *report.outputs)
    ] == [
        ("mount", "ready", {"reads": 7}),
        ("mount", "complete", {"reads": 7}),
    ]
    assert [
        (one.name, one.is_writable) for one in sorted(mounter.wishes, key=lambda w: w.name)
    ] == [
        ("model", True),
        ("train", False),
    ]
    assert [(one["name"], one["size"]) for one in bench.manifest("runs/1")["files"]] == [("x", 5)]


def test_mounts_are_released_when_the_script_fails(bench: Bench) -> None:
    """After a script that fails nothing is mounted, and nothing is sealed."""
    mounter = LinkMounter()

    report = _run(bench, "raise SystemExit(4)", mounter)

    assert (report.exit_code, mounter.mounted) == (4, set())
    assert not (bench.store / "runs" / "1" / "_manifest.json").exists()


def test_a_refused_mount_becomes_a_copy(bench: Bench) -> None:
    """Where single mounts are refused, the same paths are copies, and the report says why."""
    mounter = LinkMounter(refuses=frozenset({"train", "model"}))

    report = _run(bench, _COPIES, mounter)

    assert (report.exit_code, bench.stored()) == (0, {"x": "alpha"})
    assert [one.how for one in (*report.inputs, *report.outputs)] == ["download", "upload"]
    assert len([one for one in report.warnings if "the device is busy" in one]) == 2


def test_a_refused_mount_without_fallback_ends_the_run(bench: Bench) -> None:
    """Without the fallback a refused mount ends the run with 25, and the other is released."""
    mounter = LinkMounter(refuses=frozenset({"model"}))

    report = _run(bench, _COPIES, mounter, mount_fallback=MountFallback.ERROR)

    assert (report.exit_code, mounter.mounted, report.outputs[0].state) == (25, set(), "failed")


def test_a_mount_that_loses_writes_fails_the_run(bench: Bench) -> None:
    """When a writable mount cannot deliver, the run fails with 23 and is not sealed."""
    mounter = LinkMounter(loses=frozenset({"model"}))

    report = _run(bench, _COPIES, mounter)

    assert (report.exit_code, report.status) == (23, "Failed")
    assert not (bench.store / "runs" / "1" / "_manifest.json").exists()
