"""One mount of a container and one of a folder for all cases, and a folder in memory beside them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.frameworks.served import Served, container_store, folder_store, served
from tests.servers.azurite import Azurite

ROOT = Path(__file__).parents[3]
LIMIT_SECONDS = 90
# A file system of the kernel's own, which is what programs are written for.
MEMORY = Path("/dev/shm")


@pytest.fixture(name="container_mount", scope="session")
def fixture_container_mount(
    azurite: Azurite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A container of Azurite, mounted for everybody."""
    folder = tmp_path_factory.mktemp("container")
    with (
        container_store(azurite, azurite.container()) as store,
        served(store, folder, allow_other=True) as mount,
    ):
        yield mount


@pytest.fixture(name="folder_mount", scope="session")
def fixture_folder_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A folder of this machine, mounted for everybody."""
    folder = tmp_path_factory.mktemp("folder")
    with folder_store(folder / "store") as store, served(store, folder, allow_other=True) as mount:
        yield mount


@pytest.fixture(name="memory")
def fixture_memory() -> Iterator[Path]:
    """A folder in memory, served by the kernel alone."""
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="datastores-posix-") as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class Probe:
    """Runs cases in a process of its own, so that nothing here waits for what is served here."""

    module: str

    def answers(self, case: str, *folders: Path) -> list[list[str]]:
        """What a new folder in each of these answers."""
        made = [folder / case for folder in folders]
        for folder in made:
            folder.mkdir()
        return self.answers_in(case, *made)

    def answers_in(self, case: str, *folders: Path) -> list[list[str]]:
        """What each of these folders answers."""
        command = [sys.executable, "-m", "tests.mount.posix.probing", self.module, case]
        said = subprocess.run(
            [*command, *map(str, folders)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        found: list[list[str]] = json.loads(said.stdout)
        return found
