"""What the kernel remembers, and how it is told to forget."""

from __future__ import annotations

import time

from tests.mount.adapters.mounting import MakeMount, Mount
from tests.mount.memory_filesystem import Behaviour

SECONDS = 20


def test_pages_survive_from_one_open_to_the_next(make_mount: MakeMount) -> None:
    """With `keep_cache` a file that is read ten times is fetched once."""
    memory = make_mount(Behaviour(keep_cache=True))
    memory.filesystem.add("f", b"x" * 500_000)

    (memory.path / "f").read_bytes()
    fetched = memory.filesystem.calls["read"]
    for _ in range(9):
        assert (memory.path / "f").read_bytes() == b"x" * 500_000

    assert memory.filesystem.calls["read"] == fetched


def test_pages_are_dropped_by_an_open_that_does_not_keep_them(memory: Mount) -> None:
    """Without `keep_cache` each open reads anew."""
    memory.filesystem.add("f", b"x" * 1000)

    for _ in range(3):
        (memory.path / "f").read_bytes()

    assert memory.filesystem.calls["read"] == 3


def test_a_direct_file_is_never_cached(make_mount: MakeMount) -> None:
    """With `direct` every read of the program is a read of the file system."""
    memory = make_mount(Behaviour(direct=True))
    memory.filesystem.add("f", b"x" * 1000)

    with (memory.path / "f").open("rb", buffering=0) as file:
        for _ in range(5):
            file.seek(0)
            file.read(100)

    assert memory.filesystem.calls["read"] == 5


def test_lifetimes_end(make_mount: MakeMount) -> None:
    """An attribute is asked for again once its lifetime is over, a fraction of a second here."""
    memory = make_mount(Behaviour(name_seconds=0.05, attribute_seconds=0.05))
    memory.filesystem.add("f", b"old")
    assert (memory.path / "f").stat().st_size == 3
    memory.filesystem.add("f", b"newer")

    deadline = time.monotonic() + SECONDS
    while (memory.path / "f").stat().st_size != 5 and time.monotonic() < deadline:
        pass

    assert (memory.path / "f").read_bytes() == b"newer"
