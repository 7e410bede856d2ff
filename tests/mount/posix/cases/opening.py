"""Opening files: flags, modes, what is refused."""

# Bare system calls are what is tested here.
# ruff: noqa: PTH102, PTH211

from __future__ import annotations

import os

from tests.mount.posix.calls import Calls, got, put

MODES = (0o666, 0o600, 0o777, 0o444, 0o000, 0o640)
READ, WRITE, BOTH = os.O_RDONLY, os.O_WRONLY, os.O_RDWR


def creation_obeys_the_umask(do: Calls) -> None:
    """A new file has the mode that was asked for without the umask's bits."""
    for umask in (0o022, 0o077, 0o000, 0o777):
        os.umask(umask)
        for mode in MODES:
            name = f"{umask:o}-{mode:o}"
            os.close(do(os.open, name, os.O_CREAT | WRITE, mode))
            do(os.stat, name)


def mode_of_an_existing_file_stays(do: Calls) -> None:
    """O_CREAT on a file that is there leaves its mode alone."""
    put("f", b"12345", 0o640)
    os.close(do(os.open, "f", os.O_CREAT | WRITE, 0o777))
    do(os.stat, "f")


def read_only_creation_is_writable_now(do: Calls) -> None:
    """A file made with mode 0444 is written through the descriptor that made it."""
    fd = do(os.open, "f", os.O_CREAT | os.O_EXCL | WRITE, 0o444)
    do(os.write, fd, b"once")
    os.close(fd)
    do(got, "f")
    do(os.stat, "f")


def exclusive_creation(do: Calls) -> None:
    """O_EXCL makes a file once, and refuses files, folders, and links to nothing."""
    put("f")
    os.mkdir("d")
    os.symlink("nothing", "dangling")
    for name in ("new", "new", "f", "d", "dangling"):
        do(os.open, name, os.O_CREAT | os.O_EXCL | BOTH)
    do(os.path.lexists, "nothing")


def creation_through_a_dangling_link(do: Calls) -> None:
    """O_CREAT follows a link to nothing and makes what it names."""
    os.symlink("target", "dangling")
    os.close(do(os.open, "dangling", os.O_CREAT | WRITE))
    do(os.lstat, "target")
    do(os.readlink, "dangling")


def missing_and_misplaced(do: Calls) -> None:
    """ENOENT for what is missing, ENOTDIR below a file, EISDIR for a folder that is written."""
    put("f", b"x")
    os.mkdir("d")
    for flags in (READ, WRITE, BOTH, os.O_CREAT | WRITE):
        for name in ("no/f", "f/g", "f/", "f/.", "d/", "d/.", "d/..", "new/"):
            do(os.open, name, flags)
    do(os.open, "", READ)
    do(os.open, "", os.O_CREAT | WRITE)
    do(os.open, "missing", READ)
    do(os.open, "d", WRITE | os.O_TRUNC)
    do(os.open, "d", READ | os.O_CREAT)


def folders_as_files(do: Calls) -> None:
    """A folder opens for reading only, and read, write and truncate refuse its descriptor."""
    os.mkdir("d")
    put("f")
    fd = do(os.open, "d", READ)
    do(os.read, fd, 10)
    do(os.write, fd, b"x")
    do(os.ftruncate, fd, 0)
    do(os.pread, fd, 10, 0)
    do(os.fsync, fd)
    do(os.fstat, fd)
    do(os.open, "d", READ | os.O_DIRECTORY)
    do(os.open, "f", READ | os.O_DIRECTORY)
    do(os.open, "no", READ | os.O_DIRECTORY)
    do(os.open, "f", WRITE | os.O_DIRECTORY)


def truncating_opens(do: Calls) -> None:
    """O_TRUNC empties a file in each direction, once, and not what cannot be opened."""
    for name, flags in (("r", READ), ("w", WRITE), ("b", BOTH), ("c", WRITE | os.O_CREAT)):
        put(name, b"content")
        fd = do(os.open, name, flags | os.O_TRUNC)
        do(os.fstat, fd)
        do(os.stat, name)
        os.close(fd)
        do(got, name)
    put("f", b"content")
    do(os.open, "f", WRITE | os.O_TRUNC | os.O_CREAT | os.O_EXCL)
    do(got, "f")


def appending(do: Calls) -> None:
    """O_APPEND writes at the end, wherever one stands, two writers in turns as well."""
    put("f", b"start ")
    first = do(os.open, "f", WRITE | os.O_APPEND)
    second = do(os.open, "f", BOTH | os.O_APPEND)
    plain = do(os.open, "f", WRITE)
    for number in range(4):
        do(os.write, first, b"a%d" % number)
        do(os.lseek, first, 0, os.SEEK_SET)
        do(os.write, second, b"b%d" % number)
        do(os.lseek, second, 0, os.SEEK_CUR)
    do(os.write, plain, b"START")
    do(os.pwrite, first, b"far", 1000)  # Linux appends this, too
    do(os.pread, second, 100, 0)
    for fd in (first, second, plain):
        os.close(fd)
    do(got, "f")


def appending_after_truncation(do: Calls) -> None:
    """What is appended after a truncation stands at the new end."""
    put("f", b"0123456789")
    fd = do(os.open, "f", BOTH | os.O_APPEND)
    do(os.truncate, "f", 4)
    do(os.write, fd, b"ab")
    do(os.ftruncate, fd, 8)
    do(os.write, fd, b"cd")
    do(os.pread, fd, 100, 0)


def append_switched_on_later(do: Calls) -> None:
    """O_APPEND set and cleared with fcntl counts from then on."""
    import fcntl

    put("f", b"0123456789")
    fd = do(os.open, "f", BOTH)
    do(os.write, fd, b"ab")
    do(fcntl.fcntl, fd, fcntl.F_SETFL, os.O_APPEND)
    do(os.write, fd, b"end")
    do(fcntl.fcntl, fd, fcntl.F_SETFL, 0)
    do(os.lseek, fd, 2, os.SEEK_SET)
    do(os.write, fd, b"cd")
    os.close(fd)
    do(got, "f")


def wrong_direction(do: Calls) -> None:
    """Reading a write-only descriptor and writing a read-only one is EBADF."""
    put("f", b"content")
    reader, writer = do(os.open, "f", READ), do(os.open, "f", WRITE)
    do(os.write, reader, b"x")
    do(os.pwrite, reader, b"x", 0)
    do(os.ftruncate, reader, 0)
    do(os.read, writer, 1)
    do(os.pread, writer, 1, 0)
    do(os.ftruncate, writer, 3)
    os.close(reader)
    do(os.read, reader, 1)
    do(os.close, reader)
    do(os.write, 999, b"x")
    do(os.fstat, 999)


def links_not_followed(do: Calls) -> None:
    """O_NOFOLLOW refuses a link with ELOOP; O_PATH holds the link itself."""
    put("f", b"x")
    os.mkdir("d")
    os.symlink("f", "to_file")
    os.symlink("d", "to_folder")
    do(os.open, "to_file", READ | os.O_NOFOLLOW)
    do(os.open, "to_folder", READ | os.O_NOFOLLOW)
    do(os.open, "to_folder", READ | os.O_NOFOLLOW | os.O_DIRECTORY)
    do(os.open, "f", READ | os.O_NOFOLLOW)
    do(os.open, "to_folder/", READ | os.O_DIRECTORY)
    fd = do(os.open, "to_file", os.O_PATH | os.O_NOFOLLOW)
    do(os.fstat, fd)
    do(os.readlink, "", dir_fd=fd)
    do(os.read, fd, 1)


def loops_of_links(do: Calls) -> None:
    """Links that lead round in a circle are ELOOP, a chain of thirty is followed."""
    os.symlink("b", "a")
    os.symlink("a", "b")
    os.symlink("self", "self")
    put("end0", b"end")
    for number in range(1, 45):
        os.symlink(f"end{number - 1}", f"end{number}")
    for name in ("a", "self", "end30", "end44"):
        do(os.open, name, READ)
        do(os.stat, name)
    do(os.open, "a", READ | os.O_CREAT)
    do(os.stat, "self/x")
    do(os.truncate, "a", 0)
    do(os.chmod, "self", 0o600)


def same_file_opened_often(do: Calls) -> None:
    """Fifty descriptors of one file each have their own place, duplicates share one."""
    put("f", bytes(range(200)))
    fds = [os.open("f", READ) for _ in range(50)]
    for place, fd in enumerate(fds):
        os.lseek(fd, place, os.SEEK_SET)
    do.note("each", [os.read(fd, 2) for fd in fds])
    twin = os.dup(fds[0])
    do(os.read, twin, 2)
    do(os.read, fds[0], 2)
    os.close(fds[0])
    do(os.read, twin, 2)


def descriptors_survive_a_fork(do: Calls) -> None:
    """A child writes on through what it inherited, and its parent goes on after it."""
    fd = do(os.open, "f", BOTH | os.O_CREAT)
    os.write(fd, b"parent ")
    child = os.fork()
    if child == 0:
        os.write(fd, b"child ")
        os.close(fd)
        os._exit(0)
    os.waitpid(child, 0)
    do(os.write, fd, b"parent again")
    os.close(fd)
    do(got, "f")


def synchronous_writes(do: Calls) -> None:
    """O_SYNC and O_DSYNC, fsync and fdatasync take bytes and give no error."""
    for name, flag in (("sync", os.O_SYNC), ("dsync", os.O_DSYNC)):
        fd = do(os.open, name, BOTH | os.O_CREAT | flag)
        do(os.write, fd, b"safe")
        do(os.fsync, fd)
        do(os.fdatasync, fd)
        os.close(fd)
        do(got, name)
