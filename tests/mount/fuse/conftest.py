"""Real mounts in temporary folders, gone after each test whatever happened in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from mount.fuse.device import unmount
from mount.fuse.mounted import Mounted, mount
from mount.fuse.mounts import find_mount
from mount.fuse.options import MountOptions
from tests.mount.memory_filesystem import Behaviour, MemoryFileSystem

# Far above what any test needs. A caller that hangs in the kernel cannot be interrupted, and may
# hold this interpreter, so another process waits and cuts the connection.
LIMIT_SECONDS = 60
RESCUE = f"""
import select, sys
from mount.fuse.mounts import abort_connection
if not select.select([sys.stdin], [], [], {LIMIT_SECONDS})[0]:
    abort_connection(int(sys.argv[1]))
"""
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount under test."""

    path: Path
    filesystem: MemoryFileSystem
    mounted: Mounted


class MakeMount(Protocol):
    def __call__(
        self, behaviour: Behaviour | None = None, options: MountOptions | None = None
    ) -> Mount: ...


@pytest.fixture(name="make_mount")
def fixture_make_mount(tmp_path: Path) -> Iterator[MakeMount]:
    """Mounts as many file systems as are asked for; none may have seen a broken rule."""
    made: list[Mount] = []
    with ExitStack() as stack:

        def make(behaviour: Behaviour | None = None, options: MountOptions | None = None) -> Mount:
            place = tmp_path / f"mount{len(made)}"
            place.mkdir()
            filesystem = MemoryFileSystem(behaviour)
            mounted = mount(filesystem, str(place), options=options or MountOptions())
            made.append(Mount(place, filesystem, mounted))
            stack.enter_context(rescued(mounted.connection))
            stack.enter_context(mounted)
            return made[-1]

        yield make
    assert [one.filesystem.broken_rules for one in made] == [[] for _ in made]
    assert all(one.filesystem.stopped.is_set() for one in made)


@pytest.fixture(name="memory")
def fixture_memory(make_mount: MakeMount) -> Mount:
    """A mounted file system in memory."""
    return make_mount()


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path) -> Iterator[Path]:
    """A folder for a mount that another process makes; unmounted at the end."""
    place = tmp_path / "place"
    place.mkdir()
    yield place
    while find_mount(str(place)):
        unmount(str(place), lazy=True)


def names(folder: Path) -> list[str]:
    """What a folder lists, in its order."""
    return [path.name for path in folder.iterdir()]


@contextmanager
def rescued(connection: int | None) -> Iterator[None]:
    """Cut the connection if the block takes longer than any test may."""
    with subprocess.Popen(
        [sys.executable, "-c", RESCUE, str(connection)], stdin=subprocess.PIPE, cwd=ROOT
    ) as helper:
        try:
            yield
        finally:
            assert helper.stdin is not None
            helper.stdin.close()
            helper.wait(10)
