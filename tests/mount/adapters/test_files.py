"""Files through the kernel: every call that a program makes on one."""

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

from mount.fs.contract import Kind
from mount.fuse.options import MountOptions
from tests.mount.adapters.mounting import Adapter, MakeMount, Mount, names

MIB = 1 << 20
READ_MAPPED = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
    print(hashlib.sha256(view).hexdigest())
"""
WRITE_MAPPED = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
    view[3:6] = b"new"
    view.flush()
"""
# Drops the right to pass closed folders, once inside.
FINAL = "setpriv --inh-caps -all --ambient-caps -all"


def test_a_file_is_read_as_it_was_put_there(memory: Mount) -> None:
    """A file of five requests and a bit arrives byte for byte."""
    data = random.Random(1).randbytes(5 * MIB + 1234)
    memory.filesystem.add("folder/big", data)

    assert (memory.path / "folder" / "big").read_bytes() == data


def test_random_reads_and_writes_agree_with_a_plain_file(memory: Mount, tmp_path: Path) -> None:
    """The same 400 random writes, reads and truncations leave the same bytes on a local disk."""
    chance = random.Random(3)
    flags = os.O_RDWR | os.O_CREAT
    ours, theirs = (os.open(p, flags) for p in (memory.path / "f", tmp_path / "plain"))
    try:
        for _ in range(400):
            at = chance.randrange(300_000)
            match chance.randrange(5):
                case 0:
                    os.ftruncate(ours, at)
                    os.ftruncate(theirs, at)
                case 1 | 2:
                    piece = chance.randbytes(chance.randrange(1, 70_000))
                    assert os.pwrite(ours, piece, at) == os.pwrite(theirs, piece, at)
                case _:
                    size = chance.randrange(1, 70_000)
                    assert os.pread(ours, size, at) == os.pread(theirs, size, at)
            assert os.fstat(ours).st_size == os.fstat(theirs).st_size
    finally:
        os.close(ours)
        os.close(theirs)

    assert (memory.path / "f").read_bytes() == (tmp_path / "plain").read_bytes()


def test_a_mapped_file_shows_its_bytes(memory: Mount) -> None:
    """mmap reads what read() would."""
    data = random.Random(4).randbytes(3 * MIB + 17)
    memory.filesystem.add("mapped", data)

    answer = _python(READ_MAPPED, memory.path / "mapped")

    assert answer == hashlib.sha256(data).hexdigest()


def test_a_mapped_file_takes_changes(memory: Mount) -> None:
    """What is written through a shared mapping reaches the file system."""
    memory.filesystem.add("mapped", b"an old text")

    _python(WRITE_MAPPED, memory.path / "mapped")

    assert bytes(memory.filesystem.find("mapped").data) == b"an new text"


def test_truncating_open_empties_the_file(memory: Mount) -> None:
    """O_TRUNC empties in one request, without a second for the size."""
    memory.filesystem.add("f", b"old content")

    (memory.path / "f").write_bytes(b"new")

    assert bytes(memory.filesystem.find("f").data) == b"new"
    assert memory.filesystem.calls["setattr"] == 0


def test_appends_land_at_the_end(memory: Mount) -> None:
    """O_APPEND adds to what is there, whatever position the descriptor had."""
    memory.filesystem.add("log", b"one\n")

    with (memory.path / "log").open("ab") as log:
        log.write(b"two\n")
        log.flush()
        os.lseek(log.fileno(), 0, os.SEEK_SET)
        log.write(b"three\n")

    assert (memory.path / "log").read_bytes() == b"one\ntwo\nthree\n"


def test_exclusive_creation_happens_once(memory: Mount) -> None:
    """Of two creations with O_EXCL the second is told that the file exists."""
    with (memory.path / "f").open("xb") as file:
        file.write(b"first")

    with pytest.raises(FileExistsError):
        (memory.path / "f").open("xb")
    assert (memory.path / "f").read_bytes() == b"first"


def test_size_mode_and_times_can_be_set(memory: Mount, adapter: Adapter) -> None:
    """truncate, chmod, chown and utimens change what stat shows, and nothing else."""
    path = memory.path / "f"
    path.write_bytes(b"0123456789")

    os.truncate(path, 4)
    path.chmod(0o600)
    os.chown(path, 12, 34)
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))

    status = path.stat()
    assert (status.st_size, status.st_mode & 0o7777, status.st_uid, status.st_gid) == (
        4,
        0o600,
        12,
        34,
    )
    step = adapter.step_ns
    assert status.st_mtime_ns == 1_234_567_890_123_456_789 // step * step
    assert memory.filesystem.find("f").modified_ns == 1_234_567_890_123_456_789
    assert path.read_bytes() == b"0123"


def test_touch_sets_the_present(memory: Mount, adapter: Adapter) -> None:
    """utimens with "now" sets the time of the call."""
    path = memory.path / "f"
    memory.filesystem.add("f", b"").modified_ns = 0
    before = time.time_ns()

    path.touch()

    earliest = (before - 20_000_000) // adapter.step_ns * adapter.step_ns
    assert earliest <= path.stat().st_mtime_ns <= time.time_ns()


def test_an_unlinked_file_lives_until_it_is_closed(memory: Mount) -> None:
    """A name is gone at once; the bytes stay for those who have the file open."""
    memory.filesystem.add("f", b"still here")

    with (memory.path / "f").open("rb") as file:
        (memory.path / "f").unlink()

        assert names(memory.path) == []
        assert file.read() == b"still here"


def test_a_rename_replaces_the_target(memory: Mount) -> None:
    """After a rename over a file the old name is gone and the new one has the new bytes."""
    memory.filesystem.add("new", b"new")
    memory.filesystem.add("folder/old", b"old")

    (memory.path / "new").rename(memory.path / "folder" / "old")

    assert names(memory.path) == ["folder"]
    assert (memory.path / "folder" / "old").read_bytes() == b"new"


def test_links_point_where_they_were_made_to(memory: Mount) -> None:
    """A symbolic link can be made, read and followed."""
    memory.filesystem.add("target", b"there")

    (memory.path / "link").symlink_to("target")

    assert (memory.path / "link").readlink() == Path("target")
    assert (memory.path / "link").read_bytes() == b"there"
    assert memory.filesystem.find("link").kind is Kind.LINK


def test_mknod_makes_a_plain_file(memory: Mount) -> None:
    """mknod of a regular file makes an empty one that is complete when the call returns."""
    os.mknod(memory.path / "f", 0o604)

    assert memory.filesystem.find("f").permissions == 0o604
    assert memory.filesystem.calls["flush"] == 1
    assert memory.filesystem.handles == {}


def test_fsync_and_close_reach_the_file_system(memory: Mount) -> None:
    """fsync is one call, and every close of a written file is one flush."""
    with (memory.path / "f").open("wb") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())

    assert (memory.filesystem.calls["fsync"], memory.filesystem.calls["flush"]) == (1, 1)


def test_closing_a_file_that_was_only_read_asks_nothing(memory: Mount) -> None:
    """A reader's close costs no flush."""
    memory.filesystem.add("f", b"x")

    (memory.path / "f").read_bytes()

    assert memory.filesystem.calls["flush"] == 0


def test_many_readers_get_their_own_bytes(memory: Mount) -> None:
    """Eight threads that read forty files over and over never see another file's bytes."""
    files = {f"f{n}": random.Random(n).randbytes(200_000) for n in range(40)}
    for name, data in files.items():
        memory.filesystem.add(name, data)

    def read(n: int) -> bool:
        name = f"f{n % 40}"
        return (memory.path / name).read_bytes() == files[name]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(400)))


def test_a_read_only_mount_refuses_writers(make_mount: MakeMount) -> None:
    """The kernel itself refuses to create a file in a read-only mount."""
    memory = make_mount(options=MountOptions(read_only=True))

    with pytest.raises(OSError, match="Read-only file system"):
        (memory.path / "f").write_bytes(b"x")
    assert memory.filesystem.calls["create"] == 0


def test_the_umask_of_the_mount_hides_permissions(make_mount: MakeMount) -> None:
    """Bits of the mount's umask are not shown, for files as for folders."""
    memory = make_mount(options=MountOptions(umask=0o027))
    memory.filesystem.add("folder/f", b"")

    modes = [(memory.path / name).stat().st_mode & 0o7777 for name in ("folder", "folder/f")]

    assert modes == [0o750, 0o640]


@pytest.mark.parametrize("allow_other", [False, True])
def test_other_users_see_what_they_were_allowed_to(
    make_mount: MakeMount, *, allow_other: bool
) -> None:
    """Only with `allow_other` may another user read, and then by the file's mode."""
    memory = make_mount(options=MountOptions(allow_other=allow_other))
    memory.filesystem.add("open", b"for all")
    memory.filesystem.add("private", b"for me").permissions = 0o600
    # The folders above the mount are closed to others: this right opens them to search alone.
    other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    right = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]

    def read_as_other(*extra: str) -> str:
        command = [*other, *extra, "sh", "-c", f"cd {memory.path} && {FINAL} cat open private"]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False
        ).stdout

    assert read_as_other(*right) == ("for all" if allow_other else "")


def test_space_is_shown(memory: Mount) -> None:
    """statfs shows what the file system said."""
    shown = os.statvfs(memory.path)

    assert (shown.f_blocks * shown.f_frsize, shown.f_bavail * shown.f_frsize, shown.f_namemax) == (
        1 << 40,
        1 << 39,
        255,
    )


def test_lookups_are_given_back(memory: Mount) -> None:
    """A removed file leaves nothing behind once the kernel has forgotten it."""
    for n in range(50):
        (memory.path / f"f{n}").write_bytes(b"x")
        (memory.path / f"f{n}").unlink()

    os.sync()
    deadline = time.monotonic() + 10
    while len(memory.filesystem.nodes) > 1 and time.monotonic() < deadline:
        os.statvfs(memory.path)  # forgets travel before the next request
    assert set(memory.filesystem.nodes) == {1}


def _python(code: str, path: Path) -> str:
    # A mapping faults with the interpreter's lock held: never in the process that serves.
    answer = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=30, check=True
    )
    return answer.stdout.strip()
