"""A store mounted twice, and a way to set a program to work on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.frameworks.served import EVER_ASKING, container_store, served
from tests.servers.azurite import Azurite

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Workshop:
    """A process that does work in children of its own, with what is slow to import at hand."""

    process: subprocess.Popen[str]

    def run(self, log: Path, *order: str) -> None:
        """Have a piece of work done; it has to succeed."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([str(log), *order]) + "\n")
        self.process.stdin.flush()
        ended = self.process.stdout.readline()
        assert ended == "0\n", f"ended with {ended}{log.read_text()}"


@dataclass(frozen=True, slots=True)
class Bench:
    """Two mounts of one container: what is done in the first is checked through the second."""

    here: Path
    there: Path
    scratch: Path
    workshop: Workshop

    def run(self, module: str, function: str) -> None:
        """Do a piece of work in a process of its own; it has to succeed."""
        places = (str(place) for place in (self.here, self.there, self.scratch))
        self.workshop.run(self.scratch.parent / "log", module, function, *places)


@pytest.fixture(name="workshop", scope="session")
def fixture_workshop() -> Iterator[Workshop]:
    """One workshop for all; it ends with the session."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.mount.frameworks.working"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Workshop(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.fixture(name="bench")
def fixture_bench(workshop: Workshop, azurite: Azurite, tmp_path: Path) -> Iterator[Bench]:
    """A fresh container, mounted twice with an empty cache each."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    container = azurite.container()
    with (
        container_store(azurite, container) as store,
        container_store(azurite, container) as other,
        served(store, tmp_path / "here") as here,
        served(other, tmp_path / "there", view=EVER_ASKING) as there,
    ):
        yield Bench(here.path, there.path, scratch, workshop)
