"""A job on folders of this machine, and an agent as a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datastores.contract import (
    Command,
    FolderSource,
    InputMode,
    InputSpec,
    JobSpec,
    Limits,
    OutputMode,
    OutputSpec,
    Script,
    When,
    to_json,
)
from datastores.definitions import LocalFolder
from datastores.names import DatastoreName
from mount.agent.manifest import NAME

ROOT = Path(__file__).parents[3]
_MAIN = "from mount.cli import main; main()"
# What a container without the device sees, in a mount namespace of its own.
_WITHOUT_FUSE = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount --bind /dev/null /dev/fuse && exec "$@"',
    "sh",
)
WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Bench:
    """Folders for a store, a source and a run, and specs over them."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Bench:
        bench = cls(root)
        for folder in (bench.store, bench.source):
            folder.mkdir(parents=True)
        (bench.store / "train" / "cats").mkdir(parents=True)
        (bench.store / "train" / "a.txt").write_text("alpha")
        (bench.store / "train" / "cats" / "b.txt").write_text("beta")
        (bench.store / "labels.csv").write_text("a,b")
        return bench

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def source(self) -> Path:
        return self.root / "src"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def definition(self) -> LocalFolder:
        return LocalFolder(DatastoreName("images"), str(self.store))

    def script(self, text: str) -> None:
        """The entry script, `train.py`."""
        (self.source / "train.py").write_text(textwrap.dedent(text))

    def spec(self, *arguments: str, **changes: Any) -> JobSpec:
        """Two downloads and an upload, unless told otherwise."""
        spec = JobSpec(
            "run_1",
            "cats",
            Script("train.py", arguments),
            FolderSource(str(self.source)),
            inputs=(self.input("train", "train"), self.input("labels", "labels.csv")),
            outputs=(self.output("model", "runs/1"),),
            limits=Limits(grace_seconds=5.0, flush_seconds=10.0),
        )
        return replace(spec, **changes)

    def input(self, name: str, place: str, **changes: Any) -> InputSpec:
        return replace(InputSpec(name, InputMode.DOWNLOAD, self.definition, place), **changes)

    def output(self, name: str, place: str, **changes: Any) -> OutputSpec:
        spec = OutputSpec(name, OutputMode.UPLOAD, self.definition, place, when=When.ALWAYS)
        return replace(spec, **changes)

    def shell(self, text: str, **changes: Any) -> JobSpec:
        """A job of a shell command, without references and source."""
        spec = JobSpec("run_1", "cats", Command(shell=text), limits=Limits(grace_seconds=5.0))
        return replace(spec, **changes)

    def start(self, spec: JobSpec, *options: str, can_mount: bool = True) -> Agent:
        """An agent at work on the spec in the bench's run folder."""
        path = self.root / "spec.json"
        path.write_text(to_json(spec))
        arguments = ["run", str(path), "--folder", str(self.run), *options]
        return Agent.start(arguments, before=() if can_mount else _WITHOUT_FUSE)

    def resume(self) -> Agent:
        return Agent.start(["resume", str(self.run)])

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "report.json").read_text())
        return found

    def journal(self) -> list[dict[str, Any]]:
        lines = (self.run / "journal").read_text().splitlines()
        return [json.loads(line.partition(" ")[2]) for line in lines]

    def manifest(self, place: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.store / place / NAME).read_text())
        return found

    def stored(self, place: str = "runs/1") -> dict[str, str]:
        """The files of a place without the manifest, with their text."""
        root = self.store / place
        return {
            str(path.relative_to(root)): path.read_text()
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.name != NAME
        }

    def writes(self, place: str = "runs/1") -> dict[str, int]:
        """Which write each object came from: this store makes a new file for each."""
        root = self.store / place
        return {
            str(path.relative_to(root)): path.stat().st_ino
            for path in root.rglob("*")
            if path.is_file() and path.name != NAME
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """What is left of an agent."""

    code: int
    out: bytes
    err: str


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent process; leave the `with` block and it is gone."""

    child: subprocess.Popen[bytes]

    @classmethod
    def start(cls, arguments: Sequence[str], *, before: Sequence[str] = ()) -> Agent:
        return cls(
            subprocess.Popen(
                [*before, sys.executable, "-c", _MAIN, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        )

    def until(self, says: bytes) -> None:
        """Wait until the script has said so on its stdout."""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            if says in line:
                return
        raise AssertionError(f"it never said {says!r}: {self.end().err}")

    def signal(self, number: int) -> None:
        self.child.send_signal(number)

    def end(self, seconds: float = WAIT_SECONDS) -> Ended:
        """Its exit code, as shells show it, and all it said."""
        try:
            out, err = self.child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            out, err = self.child.communicate()
            raise AssertionError(f"it did not end: {err.decode()}") from None
        code = self.child.returncode
        return Ended(code if code >= 0 else 128 - code, out, err.decode())

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.end()


def ended(start: Callable[[], Agent]) -> Ended:
    """What is left of an agent that is started and ends by itself."""
    return start().end()
