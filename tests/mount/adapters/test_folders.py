"""Folders through the kernel: listings of any length, and names that hurt."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mount.fs.contract import Kind
from tests.mount.adapters.mounting import MakeMount, Mount, names
from tests.mount.memory_filesystem import Behaviour, Node

SEEK = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)

class Line(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("length", ctypes.c_uint16),
                ("kind", ctypes.c_uint8), ("name", ctypes.c_char * 256)]

libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Line)
libc.telldir.restype = ctypes.c_long
for name in ("readdir", "telldir", "rewinddir", "closedir"):
    getattr(libc, name).argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
folder = libc.opendir(sys.argv[1].encode())

def names(most):
    found = []
    while len(found) < most and (line := libc.readdir(folder)):
        found.append(line.contents.name)
    return found

first = names(1000)
here = libc.telldir(folder)
rest = names(10**6)
libc.seekdir(folder, here)
print(names(10**6) == rest)
libc.rewinddir(folder)
print(names(10**6) == first + rest)
print(len(first + rest))
libc.closedir(folder)
"""


def test_a_hundred_thousand_names_are_listed_in_order(memory: Mount) -> None:
    """A large folder lists every name once, in the file system's order, with its attributes."""
    wanted = _fill(memory, 100_000)

    with os.scandir(memory.path / "many") as lines:
        found = [os.fsencode(line.name) for line in lines]

    assert found == wanted


def test_a_listing_can_be_continued_and_begun_again(memory: Mount) -> None:
    """seekdir goes on where telldir was, rewinddir begins again, with the same names."""
    _fill(memory, 5_000)

    answer = subprocess.run(
        [sys.executable, "-c", SEEK, memory.path / "many"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert answer.stdout.split() == ["True", "True", "5002"]


def test_a_folder_lists_itself_and_its_parent(memory: Mount) -> None:
    """`ls -a` begins with the two dots."""
    memory.filesystem.add("f", b"")

    listed = subprocess.run(
        ["ls", "-aU", memory.path], capture_output=True, text=True, timeout=30, check=True
    )

    assert listed.stdout.split() == [".", "..", "f"]


@pytest.mark.parametrize(
    "name",
    [
        b"n" * 255,
        b"\xff\xfe not utf-8",
        b"line\nbreak",
        "A\u030a decomposed".encode(),
        b" leading and trailing ",
        b"quote'\"`$;&|\\",
        b"...",
    ],
)
def test_names_are_exactly_their_bytes(memory: Mount, name: bytes) -> None:
    """Whatever bytes a name has, they are created, listed, read and removed as they are."""
    path = memory.path / os.fsdecode(name)

    path.write_bytes(b"x")

    assert [os.fsencode(found) for found in names(memory.path)] == [name]
    assert bytes(memory.filesystem.root.children[name].data) == b"x"
    path.unlink()
    assert names(memory.path) == []


def test_a_name_of_256_bytes_is_too_long(memory: Mount) -> None:
    """One byte more than 255 is refused as too long."""
    with pytest.raises(OSError, match="File name too long"):
        (memory.path / ("n" * 256)).touch()


def test_folders_are_made_and_removed(memory: Mount) -> None:
    """mkdir sets the mode, rmdir takes an empty folder away and refuses a full one."""
    (memory.path / "a").mkdir(mode=0o750)
    (memory.path / "a" / "b").mkdir()

    with pytest.raises(OSError, match="Directory not empty"):
        (memory.path / "a").rmdir()
    assert (memory.path / "a").stat().st_mode & 0o7777 == 0o750
    (memory.path / "a" / "b").rmdir()
    (memory.path / "a").rmdir()
    assert names(memory.path) == []


def test_a_folder_moves_with_all_that_is_in_it(memory: Mount) -> None:
    """After the rename of a folder its files are found under the new path alone."""
    memory.filesystem.add("a/b/f", b"x")

    (memory.path / "a" / "b").rename(memory.path / "c")

    assert (memory.path / "c" / "f").read_bytes() == b"x"
    assert not (memory.path / "a" / "b").exists()


def test_inode_numbers_are_the_file_systems(memory: Mount) -> None:
    """Listing and stat show the same number, and it stays."""
    node = memory.filesystem.add("f", b"x")

    with os.scandir(memory.path) as lines:
        listed = [line.inode() for line in lines]

    assert [*listed, (memory.path / "f").stat().st_ino] == [node.inode, node.inode]


def test_a_listing_with_waits_is_the_same(make_mount: MakeMount) -> None:
    """A folder whose every page has to wait lists the same names."""
    memory = make_mount(Behaviour(would_wait={"*"}))
    wanted = _fill(memory, 3_000)

    assert [os.fsencode(found) for found in names(memory.path / "many")] == wanted


def _fill(memory: Mount, count: int) -> list[bytes]:
    folder = memory.filesystem.add("many/first", b"").inode
    parent = memory.filesystem.find("many")
    names = [b"first", *(b"name %07d" % n for n in range(1, count))]
    for at, name in enumerate(names[1:], folder + 1):
        node = Node(10_000 + at, Kind.FILE, 0o644)
        memory.filesystem.nodes[node.inode] = node
        parent.children[name] = node
    return names
