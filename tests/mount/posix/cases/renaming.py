"""Renames: every kind over every kind, and what is open meanwhile."""

# Bare system calls are what is tested here.
# ruff: noqa: PTH102, PTH103, PTH211

from __future__ import annotations

import ctypes
import errno
import os

from tests.mount.posix.calls import Calls, got, put, tree

NOREPLACE = 1
AT_FDCWD = -100


def every_kind_over_every_kind(do: Calls) -> None:
    """File, empty and full folder, link and nothing, each renamed over each of them."""
    kinds = ("file", "empty", "full", "link", "nothing")
    for source in kinds:
        for target in kinds:
            place = f"{source}-{target}"
            os.mkdir(place)
            make(f"{place}/s", source)
            make(f"{place}/t", target)
            do(os.rename, f"{place}/s", f"{place}/t")
    do(tree)


def make(name: str, kind: str) -> None:
    match kind:
        case "file":
            put(name, name.encode())
        case "empty":
            os.mkdir(name)
        case "full":
            os.mkdir(name)
            put(f"{name}/inside", name.encode())
        case "link":
            os.symlink("inside", name)


def onto_itself(do: Calls) -> None:
    """A rename onto the same name does nothing, for a file, a folder and a link."""
    put("f", b"1")
    os.mkdir("d")
    put("d/x", b"2")
    os.symlink("f", "link")
    for name in ("f", "d", "link"):
        do(os.rename, name, name)
    do(os.rename, "d", "d/")
    do(os.rename, "f", "d/../f")
    do(tree)


def into_itself(do: Calls) -> None:
    """A folder cannot go below itself, nor over what it is in."""
    os.makedirs("a/b/c")
    for target in ("a/x", "a/b/c/x", "a/b", "a/b/c"):
        do(os.rename, "a", target)
    do(os.rename, "a/b/c", "a")
    do(os.rename, "a/b", "a")
    do(os.rename, "a/b", ".")
    do(os.rename, "a", "..")
    do(os.rename, ".", "x")
    do(os.rename, "a/.", "x")
    do(os.rename, "a/..", "x")
    do(tree)


def missing_ends(do: Calls) -> None:
    """A missing source, a missing parent and a file on the way are told apart."""
    put("f", b"1")
    os.mkdir("d")
    os.symlink("nothing", "dangling")
    do(os.rename, "no", "x")
    do(os.rename, "f", "no/x")
    do(os.rename, "no/x", "f")
    do(os.rename, "f/x", "g")
    do(os.rename, "d", "f/x")
    do(os.rename, "f", "new/")
    do(os.rename, "f/", "g")
    do(os.rename, "", "x")
    do(os.rename, "f", "")
    do(os.rename, "d/", "e/")
    do(os.rename, "dangling", "still")
    do(tree)


def between_folders(do: Calls) -> None:
    """Files and full folders move to other folders with all that is in them."""
    os.makedirs("from/tree/deep")
    os.mkdir("to")
    for number in range(12):
        put(f"from/tree/{number}", b"%d" % number)
        put(f"from/tree/deep/{number}", b"%d" % (number * 7))
    put("from/f", b"file")
    do(os.rename, "from/f", "to/g")
    do(os.rename, "from/tree", "to/tree")
    do(os.rename, "from", "to/from")
    do(tree)


def with_open_files(do: Calls) -> None:
    """Descriptors follow a renamed file; what they write lands under the new name."""
    fd = do(os.open, "f", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"one ")
    do(os.rename, "f", "g")
    do(os.write, fd, b"two ")
    do(os.fsync, fd)
    do(os.rename, "g", "h")
    do(os.write, fd, b"three")
    reader = do(os.open, "h", os.O_RDONLY)
    do(os.rename, "h", "i")
    do(os.pread, reader, 100, 0)
    os.close(fd)
    do(os.pread, reader, 100, 0)
    do(got, "i")
    do(tree)


def of_a_folder_with_open_files(do: Calls) -> None:
    """Files open below a folder that is renamed are written on under its new name."""
    os.makedirs("d/e")
    put("d/stored", b"stored")
    new = do(os.open, "d/e/new", os.O_RDWR | os.O_CREAT)
    old = do(os.open, "d/stored", os.O_RDWR)
    reader = do(os.open, "d/stored", os.O_RDONLY)
    os.write(new, b"before ")
    os.pwrite(old, b"S", 0)
    do(os.rename, "d", "moved")
    do(os.write, new, b"after")
    do(os.pwrite, old, b"T", 1)
    do(os.pread, reader, 10, 0)
    os.close(new)
    os.close(old)
    do(os.pread, reader, 10, 0)
    do(tree)


def over_open_files(do: Calls) -> None:
    """A writer whose file was renamed over writes into the void; the new file stays whole."""
    put("f", b"old")
    writer = do(os.open, "f", os.O_RDWR)
    os.pwrite(writer, b"OLD and longer", 0)
    put("g", b"new")
    do(os.rename, "g", "f")
    do(os.pwrite, writer, b"!", 3)
    do(os.pread, writer, 100, 0)
    do(got, "f")
    os.close(writer)
    do(got, "f")
    do(tree)


def replace_again_and_again(do: Calls) -> None:
    """Twenty savings by temporary file and rename leave the last one and nothing else."""
    for number in range(20):
        put(f".tmp{number}", b"%d" % number * number)
        do(os.replace, f".tmp{number}", "result")
        do(got, "result")
    do(tree)


def swapping_by_a_third_name(do: Calls) -> None:
    """Two files swap their names by way of a third, twice."""
    put("a", b"first")
    put("b", b"second")
    for _ in range(2):
        for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
            do(os.rename, old, new)
        do(tree)


def without_replacing(do: Calls) -> None:
    """RENAME_NOREPLACE moves to a free name only."""
    put("f", b"1")
    put("g", b"2")
    os.mkdir("d")
    for old, new in (("f", "g"), ("f", "d"), ("f", "f"), ("f", "h"), ("no", "x"), ("d", "e")):
        do(noreplace, old, new)
    do(tree)


def noreplace(old: str, new: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, errno.errorcode[number])
