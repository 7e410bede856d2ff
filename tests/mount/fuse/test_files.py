"""Files through the kernel: every call that a program makes on one."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

from mount.fuse.layouts import Op
from tests.mount.adapters.mounting import MakeMount, Mount
from tests.mount.memory_filesystem import Behaviour

MIB = 1 << 20
READ_MAPPED = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
    print(hashlib.sha256(view).hexdigest())
"""


def test_reads_arrive_in_requests_of_a_mebibyte(make_mount: MakeMount) -> None:
    """A read of 16 MiB is sixteen questions, and one more where the buffer begins within a page."""
    memory = make_mount(Behaviour(direct=True))
    memory.filesystem.add("big", bytes(16 * MIB))

    fd = os.open(memory.path / "big", os.O_RDONLY)
    try:
        assert len(os.read(fd, 16 * MIB)) == 16 * MIB
    finally:
        os.close(fd)

    assert memory.filesystem.calls["read"] in {16, 17}


def test_writes_arrive_in_requests_of_a_mebibyte(memory: Mount) -> None:
    """A write of 8 MiB reaches the file system in eight pieces, in order and complete."""
    data = random.Random(2).randbytes(8 * MIB)

    fd = os.open(memory.path / "new", os.O_WRONLY | os.O_CREAT, 0o640)
    try:
        assert os.write(fd, data) == len(data)
    finally:
        os.close(fd)

    node = memory.filesystem.find("new")
    assert (bytes(node.data) == data, node.permissions) == (True, 0o640)
    assert memory.filesystem.calls["write"] == 8


def test_a_mapping_works_while_the_kernel_may_not_cache(make_mount: MakeMount) -> None:
    """A file that is opened for direct reading can be mapped all the same."""
    memory = make_mount(Behaviour(direct=True))
    memory.filesystem.add("mapped", b"x" * 10_000)

    assert _python(READ_MAPPED, memory.path / "mapped") == hashlib.sha256(b"x" * 10_000).hexdigest()


def test_times_before_1970_survive(memory: Mount) -> None:
    """A negative time is shown as it was set."""
    path = memory.path / "old"
    path.touch()

    os.utime(path, ns=(-1_500_000_000, -1_500_000_000))

    assert path.stat().st_mtime_ns == -1_500_000_000


def test_attributes_are_remembered_by_the_kernel(memory: Mount) -> None:
    """A hundred stats of one file within its lifetime ask the file system once."""
    memory.filesystem.add("f", b"x")

    memory.path.stat()

    for _ in range(100):
        (memory.path / "f").stat()

    assert memory.filesystem.calls["lookup"] == 1
    assert memory.filesystem.calls["getattr"] == 1  # of the root, before


def test_a_missing_name_is_remembered_if_the_file_system_says_so(make_mount: MakeMount) -> None:
    """With a lifetime for missing names, a hundred look-ups of one ask once."""
    memory = make_mount(Behaviour(negative_seconds=60))

    found = [(memory.path / "nothing").exists() for _ in range(100)]

    assert found == [False] * 100
    assert memory.filesystem.calls["lookup"] == 1


def test_requests_are_counted_by_kind(memory: Mount) -> None:
    """The figures of a mount count each kind of request."""
    memory.filesystem.add("f", b"x")

    (memory.path / "f").read_bytes()

    counted = memory.mounted.figures.by_op
    assert {op: counted[op] for op in (Op.LOOKUP, Op.OPEN, Op.READ)} == {
        Op.LOOKUP: 1,
        Op.OPEN: 1,
        Op.READ: 1,
    }


def _python(code: str, path: Path) -> str:
    # A mapping faults with the interpreter's lock held: never in the process that serves.
    answer = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=30, check=True
    )
    return answer.stdout.strip()
