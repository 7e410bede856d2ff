"""Complete files that the kernel reads by itself."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mount.fuse.layouts import Op
from mount.fuse.options import MountOptions
from tests.mount.adapters.mounting import MakeMount, Mount
from tests.mount.memory_filesystem import Behaviour

HASH_MAPPED = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
    print(hashlib.sha256(view).hexdigest())
"""
CHANGE_MAPPED = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
    view[0:3] = b"new"
    view.flush()
"""


@pytest.fixture(name="cache")
def fixture_cache(tmp_path: Path) -> Path:
    """A folder of complete files."""
    cache = tmp_path / "cache"
    cache.mkdir()
    return cache


@pytest.fixture(name="backed")
def fixture_backed(make_mount: MakeMount, cache: Path) -> Mount:
    """A mount whose files are all complete on the local disk."""
    return make_mount(Behaviour(backing=cache))


def test_the_kernel_reads_complete_files_without_asking(backed: Mount) -> None:
    """A file with a local copy is read, in pieces and by mapping, without a single READ."""
    data = random.Random(1).randbytes(3_000_000)
    backed.filesystem.add("f", data)

    assert (backed.path / "f").read_bytes() == data
    assert _python(HASH_MAPPED, backed.path / "f") == hashlib.sha256(data).hexdigest()

    figures = backed.mounted.figures
    assert (figures.backed_opens, figures.by_op.get(Op.READ, 0)) == (2, 0)
    assert backed.filesystem.calls["read"] == 0


def test_handles_of_one_file_share_its_backing(backed: Mount) -> None:
    """Fifty handles of one file are one backing file in the kernel, gone with the last of them."""
    node = backed.filesystem.add("f", b"x" * 100)

    fds = [os.open(backed.path / "f", os.O_RDONLY) for _ in range(50)]
    try:
        (mode,) = backed.mounted.modes.modes().values()
        assert (len(mode.handles), mode.backing_id is not None) == (50, True)
    finally:
        for fd in fds:
            os.close(fd)

    _until(lambda: backed.mounted.modes.modes() == {})
    assert node.inode in backed.filesystem.nodes


def test_many_files_leave_no_backing_behind(backed: Mount) -> None:
    """After two thousand files were read by eight threads, the kernel holds none of them."""
    for n in range(500):
        backed.filesystem.add(f"f{n}", b"%d" % n)

    def read(n: int) -> bool:
        return (backed.path / f"f{n % 500}").read_bytes() == b"%d" % (n % 500)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(2_000)))

    assert backed.mounted.figures.backed_opens == 2_000
    _until(lambda: backed.mounted.modes.modes() == {})


def test_a_writer_beside_readers_writes_to_the_file_system(backed: Mount, cache: Path) -> None:
    """While a reader holds the local copy, a writer's bytes go to the file system alone."""
    backed.filesystem.add("f", b"old bytes")

    with (backed.path / "f").open("rb", buffering=0) as reader:
        with (backed.path / "f").open("r+b") as writer:
            writer.write(b"NEW")
            writer.seek(0)
            assert writer.read() == b"NEW bytes"

        assert reader.read() == b"old bytes"
        assert bytes(backed.filesystem.find("f").data) == b"NEW bytes"
        assert (backed.path / "f").read_bytes() == b"NEW bytes"
    assert [path.read_bytes() for path in sorted(cache.iterdir())].count(b"old bytes") == 1
    assert backed.mounted.figures.moves >= 1


def test_a_mapped_writer_beside_readers_leaves_the_local_copy_alone(
    backed: Mount, cache: Path
) -> None:
    """A shared mapping changes the file system's bytes, never those of a cached version."""
    backed.filesystem.add("f", b"old bytes")

    with (backed.path / "f").open("rb", buffering=0) as reader:
        (copy,) = cache.iterdir()
        _python(CHANGE_MAPPED, backed.path / "f")

        assert copy.read_bytes() == b"old bytes"
        assert reader.read() == b"old bytes"
    assert bytes(backed.filesystem.find("f").data) == b"new bytes"


def test_truncating_beside_readers_truncates_once(backed: Mount) -> None:
    """An O_TRUNC open that meets a backed reader empties the file, and the reader goes on."""
    backed.filesystem.add("f", b"old bytes")

    with (backed.path / "f").open("rb", buffering=0) as reader:
        (backed.path / "f").write_bytes(b"second")

        assert reader.read() == b"old bytes"
    assert bytes(backed.filesystem.find("f").data) == b"second"


def test_a_new_version_is_read_beside_the_old_one(backed: Mount) -> None:
    """A file that was replaced is read new by a new handle and old by the old one."""
    backed.filesystem.behaviour.attribute_seconds = 0
    backed.filesystem.add("f", b"first version")

    with (backed.path / "f").open("rb", buffering=0) as old:
        backed.filesystem.add("f", b"the second version")

        assert (backed.path / "f").read_bytes() == b"the second version"
        assert _python(HASH_MAPPED, backed.path / "f") == (
            hashlib.sha256(b"the second version").hexdigest()
        )
        assert old.read() == b"first version"


def test_a_reader_beside_a_cached_reader_is_cached(backed: Mount, cache: Path) -> None:
    """A file that became complete while it was open is read through the daemon until it closes."""
    backed.filesystem.behaviour.backing = None
    backed.filesystem.add("f", b"x" * 10_000)

    with (backed.path / "f").open("rb"):
        backed.filesystem.behaviour.backing = cache
        assert (backed.path / "f").read_bytes() == b"x" * 10_000
        assert backed.mounted.figures.backed_opens == 0
    _until(lambda: backed.mounted.modes.modes() == {})

    assert (backed.path / "f").read_bytes() == b"x" * 10_000
    assert backed.mounted.figures.backed_opens == 1


def test_mixed_opens_never_fail(backed: Mount, cache: Path) -> None:
    """Readers, writers and replaced versions of a few files at once: every open succeeds."""
    names = [f"f{n}" for n in range(4)]
    for name in names:
        backed.filesystem.add(name, b"x" * 1000)
    flags = [os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_CREAT]

    def use(seed: int) -> int:
        chance = random.Random(seed)
        held: list[int] = []
        for _ in range(150):
            fd = os.open(backed.path / chance.choice(names), chance.choice(flags))
            held.append(fd)
            if chance.random() < 0.2:
                backed.filesystem.behaviour.backing = chance.choice([cache, None])
            while len(held) > chance.randrange(5):
                os.close(held.pop(chance.randrange(len(held))))
        for fd in held:
            os.close(fd)
        return len(held)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(12)))

    figures = backed.mounted.figures
    assert (figures.backed_opens > 0, figures.moves > 0, figures.defects) == (True, True, 0)


def test_a_refusal_falls_back_to_reading(make_mount: MakeMount, tmp_path: Path) -> None:
    """A backing file that the kernel refuses is read through the daemon, silently, and counted."""
    backed = make_mount(Behaviour(backing=tmp_path))
    node = backed.filesystem.add("f", b"from the daemon")
    # No regular file can be refused on demand; a pipe always is.
    os.mkfifo(tmp_path / f"{node.inode}-{node.modified_ns}")
    keeper = os.open(tmp_path / f"{node.inode}-{node.modified_ns}", os.O_RDWR)
    try:
        assert (backed.path / "f").read_bytes() == b"from the daemon"
    finally:
        os.close(keeper)

    figures = backed.mounted.figures
    assert (figures.backed_opens, figures.backing_refused) == (0, 1)


def test_passthrough_can_be_turned_off(make_mount: MakeMount, cache: Path) -> None:
    """Without passthrough the same file is read through the daemon."""
    backed = make_mount(Behaviour(backing=cache), MountOptions(passthrough=False))
    backed.filesystem.add("f", b"x")

    assert (backed.path / "f").read_bytes() == b"x"
    assert (backed.mounted.passthrough, backed.filesystem.calls["read"]) == (False, 1)


def _python(code: str, path: Path) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=30, check=True
    )
    return answer.stdout.strip()


def _until(reached: object) -> None:
    assert callable(reached)
    deadline = time.monotonic() + 10
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert reached()
