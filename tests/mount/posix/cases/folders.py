"""Folders: making, removing, listing, and calls relative to a descriptor."""

# Bare system calls are what is tested here.
# ruff: noqa: PTH102, PTH103, PTH108, PTH208, PTH211

from __future__ import annotations

import os

from tests.mount.posix.calls import Calls, got, put, tree


def making_folders(do: Calls) -> None:
    """mkdir obeys the umask and refuses what is there, what has no parent, and files on the way."""
    put("f")
    os.symlink("f", "link")
    os.symlink("nothing", "dangling")
    for umask in (0o022, 0o077, 0o000):
        os.umask(umask)
        for mode in (0o777, 0o700, 0o555):
            do(os.mkdir, f"{umask:o}-{mode:o}", mode)
            do(os.stat, f"{umask:o}-{mode:o}")
    do(os.mkdir, "slash/")
    for name in ("slash", "f", "link", "dangling", "no/d", "f/d", ".", "..", "slash/.", "/", ""):
        do(os.mkdir, name)
    do(tree)


def removing_folders(do: Calls) -> None:
    """rmdir takes empty folders only, and tells full, missing and wrong ones apart."""
    os.makedirs("a/b/c")
    put("a/f")
    put("f")
    os.symlink("a", "link")
    os.mkdir("empty")
    for name in ("a", "a/b", "f", "a/f", "no", "f/x", "link", "link/", "empty/.", "empty/.."):
        do(os.rmdir, name)
    for name in ("", "a/b/c/", "a/b", "a", "empty", "empty"):
        do(os.rmdir, name)
    do(os.unlink, "a/f")
    do(os.rmdir, "a")
    do(tree)


def removing_files(do: Calls) -> None:
    """unlink takes files and links, never folders, and only the link of a link."""
    put("f", b"1")
    put("g", b"2")
    os.mkdir("d")
    put("d/x")
    os.symlink("g", "link")
    os.symlink("d", "to_folder")
    for name in ("d", "d/", "no", "f/", "f/x", "", ".", "..", "to_folder/"):
        do(os.unlink, name)
    for name in ("f", "f", "link", "to_folder", "d/x"):
        do(os.unlink, name)
    do(tree)


def folder_that_is_gone(do: Calls) -> None:
    """In a folder that was removed nothing is found and nothing can be made."""
    os.mkdir("d")
    fd = do(os.open, "d", os.O_RDONLY)
    os.chdir("d")
    do(os.rmdir, "../d")
    do(os.listdir, fd)
    do(os.mkdir, "x")
    do(os.open, "f", os.O_CREAT | os.O_WRONLY)
    do(os.stat, "x")
    do(os.symlink, "a", "b")
    do(os.open, "f", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    do(os.getcwd)


def folder_made_again(do: Calls) -> None:
    """A folder removed and made again is new and empty; a file may take its name, and back."""
    os.mkdir("x")
    put("x/f", b"1")
    do(os.unlink, "x/f")
    do(os.rmdir, "x")
    do(os.mkdir, "x")
    do(os.listdir, "x")
    do(os.rmdir, "x")
    do(put, "x", b"file")
    do(got, "x")
    do(os.unlink, "x")
    do(os.mkdir, "x")
    do(put, "x/f", b"2")
    do(tree)


def listing(do: Calls) -> None:
    """A listing has each name once with its kind, whatever was made and removed before."""
    for number in range(60):
        put(f"file{number:03}", b"x" * number)
    for number in range(20):
        os.mkdir(f"folder{number:02}")
        os.symlink(f"file{number:03}", f"link{number:02}")
    for number in range(0, 60, 2):
        os.unlink(f"file{number:03}")
    do(lambda: sorted(os.listdir()))
    do(tree)
    do(os.listdir, "file001")
    do(os.listdir, "nothing")
    do(os.listdir, "link01")


def listing_while_it_changes(do: Calls) -> None:
    """Of a folder that changes while it is read, what stays is seen exactly once."""
    for number in range(150):
        put(f"stays{number:03}")
        put(f"goes{number:03}")
    seen: list[str] = []
    with os.scandir() as entries:
        for entry in entries:
            seen.append(entry.name)
            if entry.name.startswith("goes"):
                os.unlink(entry.name)
                put(entry.name.replace("goes", "came"))
    stays = [name for name in seen if name.startswith("stays")]
    do.note("stays", sorted(stays))
    do.note("twice", sorted(name for name in set(seen) if seen.count(name) > 1))
    do(lambda: sorted(os.listdir()))


def emptying_while_listing(do: Calls) -> None:
    """Deleting all that a listing shows empties the folder, as rm -r needs it."""
    os.makedirs("d/e")
    for number in range(100):
        put(f"d/{number}")
        put(f"d/e/{number}")
    for place in ("d/e", "d"):
        with os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_dir():
                    os.unlink(entry.path)
        do(os.rmdir, place)
    do(tree)


def listing_again_by_descriptor(do: Calls) -> None:
    """A folder's descriptor lists again from the start after a rewind, changes included."""
    os.mkdir("d")
    put("d/a")
    fd = do(os.open, "d", os.O_RDONLY | os.O_DIRECTORY)
    do(lambda: sorted(os.listdir(fd)))
    put("d/b")
    do(lambda: sorted(os.listdir(fd)))
    do(os.unlink, "d/a")
    do(lambda: sorted(os.listdir(fd)))


def relative_to_a_descriptor(do: Calls) -> None:
    """Calls with a folder's descriptor mean names below it, also after it was renamed."""
    os.makedirs("d/e")
    d = do(os.open, "d", os.O_RDONLY | os.O_DIRECTORY)
    e = do(os.open, "e", os.O_RDONLY | os.O_DIRECTORY, dir_fd=d)
    os.close(do(os.open, "f", os.O_CREAT | os.O_WRONLY, dir_fd=e))
    do(os.mkdir, "sub", dir_fd=e)
    do(os.rename, "d", "moved")
    do(os.stat, "f", dir_fd=e)
    do(os.rename, "f", "g", src_dir_fd=e, dst_dir_fd=d)
    do(os.symlink, "g", "link", dir_fd=d)
    do(os.readlink, "link", dir_fd=d)
    do(os.chmod, "g", 0o600, dir_fd=d)
    do(os.rmdir, "sub", dir_fd=e)
    do(os.unlink, "link", dir_fd=d)
    do(os.unlink, "e", dir_fd=d)
    do(os.utime, "g", ns=(10**18, 10**18), dir_fd=d)
    do(os.access, "g", os.R_OK, dir_fd=d)
    file = do(os.open, "g", os.O_RDONLY, dir_fd=d)
    do(os.stat, "x", dir_fd=file)
    do(os.mkdir, "x", dir_fd=file)
    do(tree)


def working_folder(do: Calls) -> None:
    """A working folder follows a rename, and its parent is found from within."""
    os.makedirs("a/b")
    os.chdir("a/b")
    do(os.rename, "../../a", "../../z")
    do(put, "here", b"x")
    do(os.listdir, "..")
    os.chdir("../..")
    do(tree)
    put("f")
    do(os.chdir, "f")
    do(os.chdir, "no")


def folders_full_of_folders(do: Calls) -> None:
    """Twenty folders within each other are made, renamed at the top, and removed from below."""
    deep = "/".join(["d"] * 20)
    do(os.makedirs, deep)
    put(f"{deep}/f", b"deep")
    do(os.rename, "d", "top")
    do(got, "top" + deep[1:] + "/f")
    do(tree)
    do(os.unlink, "top" + deep[1:] + "/f")
    do(os.removedirs, "top" + deep[1:])
    do(tree)
