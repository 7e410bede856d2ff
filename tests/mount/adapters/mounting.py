"""Real mounts in temporary folders, gone after each test whatever happened in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mount.fs.contract import FileSystem
from mount.fuse.connection import Connection
from mount.fuse.device import unmount
from mount.fuse.mounts import find_mount
from mount.fuse.options import MountOptions
from tests.mount.memory_filesystem import Behaviour, MemoryFileSystem

# Far above what any test needs. A caller that hangs in the kernel cannot be interrupted, and may
# hold this interpreter, so another process waits and cuts the connection.
LIMIT_SECONDS = 60
RESCUE = f"""
import os, select, sys
if not select.select([sys.stdin], [], [], {LIMIT_SECONDS})[0]:
    os.write(int(sys.argv[1]), b"1")
"""
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Adapter:
    """One way to the kernel, and what it cannot do."""

    name: str
    mount: Callable[..., Any]
    why_not: Callable[[str], str | None]
    # The smallest step of a time that `stat` shows.
    step_ns: int = 1


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount under test; `mounted` is the adapter's."""

    path: Path
    filesystem: MemoryFileSystem
    mounted: Any


class MakeMount(Protocol):
    def __call__(
        self, behaviour: Behaviour | None = None, options: MountOptions | None = None
    ) -> Mount: ...


@contextmanager
def mounts_of(adapter: Adapter, folder: Path) -> Iterator[MakeMount]:
    """Mounts as many file systems as are asked for; none may have seen a broken rule."""
    made: list[Mount] = []
    with ExitStack() as stack:

        def make(behaviour: Behaviour | None = None, options: MountOptions | None = None) -> Mount:
            place = folder / f"mount{len(made)}"
            place.mkdir()
            filesystem = MemoryFileSystem(behaviour)
            mounted = adapter.mount(filesystem, str(place), options=options or MountOptions())
            made.append(Mount(place, filesystem, mounted))
            stack.enter_context(rescued(mounted.connection))
            stack.enter_context(mounted)
            return made[-1]

        yield make
    assert [one.filesystem.broken_rules for one in made] == [[] for _ in made]
    assert all(one.filesystem.stopped.is_set() for one in made)


@contextmanager
def mounted_at(adapter: Adapter, filesystem: FileSystem, place: Path) -> Iterator[Any]:
    """One file system of the test's own, served by a thread."""
    mounted = adapter.mount(filesystem, str(place), options=MountOptions())
    with rescued(mounted.connection), mounted:
        yield mounted


@contextmanager
def cleared(place: Path) -> Iterator[Path]:
    """A new folder, with nothing mounted on it at the end, dead or alive."""
    place.mkdir()
    try:
        yield place
    finally:
        while find_mount(str(place)):
            unmount(str(place), lazy=True)


def names(folder: Path) -> list[str]:
    """What a folder lists, in its order."""
    return [path.name for path in folder.iterdir()]


@contextmanager
def rescued(connection: Connection | None) -> Iterator[None]:
    """Cut the connection if the block takes longer than any test may."""
    assert connection
    assert connection.switch is not None
    with subprocess.Popen(
        [sys.executable, "-c", RESCUE, str(connection.switch)],
        stdin=subprocess.PIPE,
        pass_fds=[connection.switch],
        cwd=ROOT,
    ) as helper:
        try:
            yield
        finally:
            assert helper.stdin is not None
            helper.stdin.close()
            helper.wait(10)
