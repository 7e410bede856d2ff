"""What a mount does not do, asked for; `test_limits.py` knows the answers."""

# Bare system calls are what is tested here.
# ruff: noqa: PTH101, PTH102, PTH103, PTH104, PTH116, PTH208

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import stat
import tempfile

from tests.mount.posix.calls import Calls, got, put
from tests.mount.posix.cases.renaming import AT_FDCWD

EXCHANGE, WHITEOUT = 2, 4
KEEP_SIZE, PUNCH_HOLE = 1, 2
SECOND = 10**9
# FS_IOC_GETFLAGS, what lsattr asks.
GET_FLAGS = 0x80086601


def hard_links(do: Calls) -> None:
    put("f", b"1")
    do(os.link, "f", "g")
    do(os.listdir)


def extended_attributes(do: Calls) -> None:
    put("f")
    do(os.setxattr, "f", "user.a", b"1")
    do(os.getxattr, "f", "user.a")
    do(os.listxattr, "f")
    do(os.removexattr, "f", "user.a")
    do(os.getxattr, "f", "system.posix_acl_access")


def devices_pipes_and_sockets(do: Calls) -> None:
    do(os.mkfifo, "pipe")
    do(os.mknod, "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as end:
        do(lambda: end.bind("socket"))
    do(os.mknod, "file", stat.S_IFREG | 0o644)
    do(os.listdir)


def files_without_a_name(do: Calls) -> None:
    do(os.open, ".", os.O_TMPFILE | os.O_RDWR)
    with tempfile.TemporaryFile(dir=".") as scratch:
        do(scratch.write, b"x")
    do(os.listdir)


def holes_punched(do: Calls) -> None:
    put("f", b"x" * 10_000)
    fd = os.open("f", os.O_RDWR)
    for mode in (KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE):
        do(fallocate, fd, mode, 0, 4096)
    do(got, "f")


def fallocate(fd: int, mode: int, start: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, mode, ctypes.c_int64(start), ctypes.c_int64(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def holes_found(do: Calls) -> None:
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"end", 100_000)
    do(os.lseek, fd, 0, os.SEEK_DATA)
    do(os.lseek, fd, 0, os.SEEK_HOLE)
    do(os.lseek, fd, 200_000, os.SEEK_DATA)


def names_exchanged(do: Calls) -> None:
    put("a", b"1")
    put("b", b"2")
    for flags in (EXCHANGE, WHITEOUT):
        do(rename_with, flags)
    do(got, "a")


def rename_with(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, b"a", AT_FDCWD, b"b", flags):
        number = ctypes.get_errno()
        raise OSError(number, errno.errorcode[number])


def flags_of_files(do: Calls) -> None:
    put("f")
    fd = os.open("f", os.O_RDONLY)
    do(lambda: fcntl.ioctl(fd, GET_FLAGS, bytes(8)))


def links_without_metadata(do: Calls) -> None:
    do(os.symlink, "f", "link")
    do(os.listdir)


def names_no_blob_can_have(do: Calls) -> None:
    for name in (b"back\\slash", b"control\x01", b"\xff"):
        do(os.mkdir, name)
        fd = os.open(name, os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"x")
        do(os.close, fd)
        os.rename(name, f"saved{len(name)}")
    do(lambda: sorted(os.listdir()))


def paths_no_blob_can_have(do: Calls) -> None:
    os.makedirs("/".join(["d" * 200] * 4))
    os.chdir("/".join(["d" * 200] * 4))
    put("f")
    for length in (100, 240):
        do(os.mkdir, "m" * length)
        do(put, "p" * length)
        do(os.symlink, "x", "s" * length)
        do(os.rename, "f", "r" * length)
    do(lambda: sorted(name[0] for name in os.listdir()))


def change_under_a_reader(do: Calls) -> None:
    put("f", b"old content")
    reader = os.open("f", os.O_RDONLY)
    put("f", b"new")
    do(os.pread, reader, 20, 0)
    again = os.open("f", os.O_RDONLY)
    do(os.pread, again, 20, 0)


def times_of_reading(do: Calls) -> None:
    put("f")
    do(os.utime, "f", ns=(5 * SECOND, 7 * SECOND))
    do(lambda: os.stat("f").st_atime_ns // SECOND)


def times_of_folders(do: Calls) -> None:
    os.mkdir("d")
    before = os.stat("d").st_mtime_ns
    put("d/f")
    do(lambda: os.stat("d").st_mtime_ns == before)


def links_of_folders(do: Calls) -> None:
    os.makedirs("d/a")
    os.mkdir("d/b")
    do(lambda: os.stat("d").st_nlink)


def owner_of_a_new_file(do: Calls) -> None:
    os.chmod(".", 0o777)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    put("f")
    do(os.stat, "f")
    do(os.chmod, "f", 0o600)


def room(do: Calls) -> None:
    status = os.statvfs(".")
    do.note("free", status.f_bavail * status.f_frsize)


def read_only(do: Calls) -> None:
    do(got, "there")
    do(os.open, "there", os.O_WRONLY)
    do(os.open, "there", os.O_RDONLY | os.O_TRUNC)
    do(os.open, "new", os.O_WRONLY | os.O_CREAT)
    do(os.truncate, "there", 0)
    do(os.unlink, "there")
    do(os.mkdir, "d")
    do(os.rmdir, "folder")
    do(os.rename, "there", "x")
    do(os.symlink, "x", "link")
    do(os.chmod, "there", 0o600)
    do(os.utime, "there")
    do(os.access, "there", os.W_OK)


def two_mounts_of_one_store(do: Calls) -> None:
    """`one` and `two`, beside the working folder, lead to the mounts."""
    put("../one/f", b"1")
    do(os.chmod, "../one/f", 0o751)
    do(os.utime, "../one/f", ns=(SECOND, SECOND))
    for place in ("../one/f", "../two/f"):
        do(fcntl.flock, os.open(place, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
        do(os.stat, place)
        do(lambda place=place: os.stat(place).st_mtime_ns == SECOND)
