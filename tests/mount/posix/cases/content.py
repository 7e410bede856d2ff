"""Bytes: reading, writing, holes, lengths, mappings."""

# Bare system calls are what is tested here.
# ruff: noqa: PTH102, PTH211

from __future__ import annotations

import fcntl
import mmap
import os
import random

from tests.mount.posix.calls import Calls, got, put

NEW = os.O_RDWR | os.O_CREAT
MIB = 1 << 20


def reading_and_writing_at_places(do: Calls) -> None:
    """pread and pwrite leave the place alone, read and write move it."""
    fd = do(os.open, "f", NEW)
    do(os.pwrite, fd, b"0123456789", 0)
    do(os.lseek, fd, 0, os.SEEK_CUR)
    do(os.write, fd, b"ab")
    do(os.pread, fd, 4, 1)
    do(os.read, fd, 3)
    do(os.lseek, fd, -2, os.SEEK_END)
    do(os.read, fd, 100)
    do(os.read, fd, 100)
    do(os.preadv, fd, [bytearray(3), bytearray(5)], 1)
    do(os.pwritev, fd, [b"XY", b"Z"], 3)
    do(os.readv, fd, [bytearray(3)])
    do(os.lseek, fd, 0, os.SEEK_SET)
    do(os.writev, fd, [b"v", b"", b"w"])
    os.close(fd)
    do(got, "f")


def beyond_the_end(do: Calls) -> None:
    """Reading past the end gives nothing; writing there leaves zeros before it."""
    fd = do(os.open, "f", NEW)
    do(os.read, fd, 10)
    do(os.pread, fd, 10, 5000)
    do(os.write, fd, b"start")
    do(os.pwrite, fd, b"end", 10_000)
    do(os.fstat, fd)
    do(os.pread, fd, 10, 9_995)
    do(os.pread, fd, 10, 10_003)
    do(os.pread, fd, 20_000, 0)
    do(os.lseek, fd, 20_000, os.SEEK_SET)
    do(os.read, fd, 1)
    do(os.fstat, fd)
    do(os.write, fd, b"further")
    os.close(fd)
    do(got, "f")


def wrong_places(do: Calls) -> None:
    """Negative places and unknown directions are EINVAL and change nothing."""
    fd = do(os.open, "f", NEW)
    os.write(fd, b"content")
    do(os.lseek, fd, -1, os.SEEK_SET)
    do(os.lseek, fd, -8, os.SEEK_CUR)
    do(os.lseek, fd, -8, os.SEEK_END)
    do(os.lseek, fd, 0, 99)
    do(os.pread, fd, 1, -1)
    do(os.pwrite, fd, b"x", -1)
    do(os.ftruncate, fd, -1)
    do(os.truncate, "f", -1)
    do(os.lseek, fd, 0, os.SEEK_CUR)
    do(got, "f")


def writes_of_nothing(do: Calls) -> None:
    """A write of no bytes changes nothing, also far beyond the end."""
    fd = do(os.open, "f", NEW)
    do(os.write, fd, b"")
    do(os.pwrite, fd, b"", 1000)
    do(os.fstat, fd)
    do(os.read, fd, 0)
    os.close(fd)
    do(os.stat, "f")


def lengths_by_name(do: Calls) -> None:
    """truncate shortens and extends by name, and refuses folders and what is missing."""
    put("f", b"0123456789" * 1000)
    for size in (5000, 5000, 0, 20, 100_000, 7):
        do(os.truncate, "f", size)
        do(os.stat, "f")
        do(got, "f")
    os.mkdir("d")
    do(os.truncate, "d", 0)
    do(os.truncate, "no", 0)
    do(os.truncate, "f/x", 0)
    os.symlink("f", "link")
    do(os.truncate, "link", 3)
    do(got, "f")


def lengths_by_descriptor(do: Calls) -> None:
    """ftruncate counts at once for every descriptor, and what was cut comes back as zeros."""
    writer = do(os.open, "f", NEW)
    reader = do(os.open, "f", os.O_RDONLY)
    os.write(writer, b"x" * 10_000)
    for size in (9_000, 3, 9_000, 4096, 4097, 4095, 0, 1, 12_345):
        do(os.ftruncate, writer, size)
        do(os.fstat, reader)
        do(os.pread, reader, 20_000, 0)
    do(os.lseek, writer, 0, os.SEEK_CUR)
    do(os.write, writer, b"y")
    do(os.pread, reader, 30_000, 0)
    os.close(writer)
    do(os.pread, reader, 30_000, 0)


def stored_bytes_are_cut_and_extended(do: Calls) -> None:
    """A file of two blocks that was closed is cut within the first and extended past the second."""
    put("f", random.Random(1).randbytes(9 * MIB))
    do(os.truncate, "f", 3 * MIB + 17)
    do(os.truncate, "f", 10 * MIB)
    fd = do(os.open, "f", os.O_RDWR)
    do(os.pwrite, fd, b"middle", 5 * MIB)
    do(os.ftruncate, fd, 5 * MIB + 3)
    os.close(fd)
    do(os.stat, "f")
    do(lambda: got("f"))


def updates_in_the_middle(do: Calls) -> None:
    """Small writes into a large stored file change those bytes and no others."""
    chance = random.Random(2)
    put("f", chance.randbytes(9 * MIB))
    fd = do(os.open, "f", os.O_RDWR)
    for _ in range(30):
        at, size = chance.randrange(9 * MIB), chance.randrange(1, 5000)
        os.pwrite(fd, chance.randbytes(size), at)
    os.close(fd)
    do(lambda: got("f"))


def random_access_agrees(do: Calls) -> None:
    """A hundred and fifty random writes, reads and truncations have the same results."""
    chance = random.Random(3)
    fd = do(os.open, "f", NEW)
    for _ in range(150):
        at, size = chance.randrange(200_000), chance.randrange(1, 30_000)
        what = chance.random()
        if what < 0.5:
            do(os.pwrite, fd, chance.randbytes(size), at)
        elif what < 0.8:
            do(os.pread, fd, size, at)
        elif what < 0.9:
            do(os.ftruncate, fd, at)
        elif what < 0.95:
            do(os.fsync, fd)
        else:
            os.close(fd)
            fd = do(os.open, "f", os.O_RDWR)
    os.close(fd)
    do(got, "f")


def writers_and_readers_at_once(do: Calls) -> None:
    """What one descriptor wrote, another one reads at once, before anything is closed."""
    writer = do(os.open, "f", NEW)
    reader = do(os.open, "f", os.O_RDONLY)
    for number in range(20):
        os.write(writer, b"line %d\n" % number)
        do(os.read, reader, 100)
    second = do(os.open, "f", os.O_RDWR)
    do(os.pwrite, second, b"LINE", 0)
    do(os.pread, writer, 4, 0)
    os.close(writer)
    do(os.pread, reader, 10, 0)
    do(os.pwrite, second, b"Line", 0)
    os.close(second)
    do(os.pread, reader, 10, 0)
    do(got, "f")


def mappings_that_write(do: Calls) -> None:
    """What is written through a shared mapping is in the file, after msync and after munmap."""
    put("f", bytes(10_000))
    fd = do(os.open, "f", os.O_RDWR)
    with mmap.mmap(fd, 10_000) as view:
        view[100:103] = b"one"
        view[9_997:10_000] = b"end"
        do(view.flush)
        do(os.pread, fd, 3, 100)
        view[200:203] = b"two"
    os.close(fd)
    do(got, "f")


def mappings_that_read(do: Calls) -> None:
    """A mapping shows the file, later writes to it, and zeros behind its end."""
    put("f", b"0123456789")
    fd = do(os.open, "f", os.O_RDWR)
    with mmap.mmap(fd, 10, prot=mmap.PROT_READ) as view:
        do.note("mapped", view[:])
        do(os.pwrite, fd, b"ab", 4)
        do.note("mapped", view[:])
    with mmap.mmap(fd, 10, flags=mmap.MAP_PRIVATE) as own:
        own[0:2] = b"xx"
        do.note("own", own[:])
    os.close(fd)
    do(got, "f")


def mapping_outlives_its_descriptor(do: Calls) -> None:
    """A mapping stays usable after close and after the name is gone."""
    put("f", bytes(5_000))
    fd = do(os.open, "f", os.O_RDWR)
    view = mmap.mmap(fd, 5_000)
    os.close(fd)
    view[0:4] = b"late"
    do(view.flush)
    view.close()
    do(got, "f")
    reader = do(os.open, "f", os.O_RDONLY)
    view = mmap.mmap(reader, 5_000, prot=mmap.PROT_READ)
    os.close(reader)
    do(os.unlink, "f")
    do.note("mapped", view[:10])


def copies_by_the_kernel(do: Calls) -> None:
    """sendfile and copy_file_range copy between two files of the folder."""
    put("f", random.Random(4).randbytes(300_000))
    source = do(os.open, "f", os.O_RDONLY)
    target = do(os.open, "g", NEW)
    do(os.sendfile, target, source, 0, 100_000)
    do(os.copy_file_range, source, target, 200_000, 100_000, 100_000)
    os.close(target)
    do(os.stat, "g")
    do(got, "g")


def space_ahead_of_time(do: Calls) -> None:
    """posix_fallocate makes a file as long as asked for, filled with zeros."""
    fd = do(os.open, "f", NEW)
    os.write(fd, b"begin")
    do(os.posix_fallocate, fd, 0, 20_000)
    do(os.fstat, fd)
    os.close(fd)
    do(got, "f")


def locks_of_one_machine(do: Calls) -> None:
    """flock and fcntl locks keep programs of one machine apart."""
    put("f", b"x" * 100)
    first, second = os.open("f", os.O_RDWR), os.open("f", os.O_RDWR)
    do(fcntl.flock, first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    do(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    do(fcntl.flock, second, fcntl.LOCK_SH | fcntl.LOCK_NB)
    do(fcntl.flock, first, fcntl.LOCK_UN)
    do(fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    do(fcntl.lockf, first, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
    child = os.fork()
    if child == 0:
        mine = os.open("f", os.O_RDWR)
        refused = free = 0
        try:
            fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 5)
        except OSError:
            refused = 1
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 10)
        free = 1
        os._exit(refused * 2 + free)
    do.note("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    for fd in (first, second):
        os.close(fd)


def reader_keeps_a_replaced_file(do: Calls) -> None:
    """Who has a file open reads its old bytes to the end after a rename over it."""
    put("f", b"old" * 1000)
    reader = do(os.open, "f", os.O_RDONLY)
    do(os.read, reader, 3)
    put("g", b"new")
    do(os.rename, "g", "f")
    do(os.read, reader, 5000)
    do(os.fstat, reader)
    do(got, "f")


def deleted_file_lives_on(do: Calls) -> None:
    """A deleted file is read, written and cut through its descriptor; its name is free."""
    put("f", b"old")
    fd = do(os.open, "f", os.O_RDWR)
    do(os.unlink, "f")
    do(os.fstat, fd)
    do(os.write, fd, b"overwritten")
    do(os.ftruncate, fd, 4)
    do(os.fsync, fd)
    do(os.fchmod, fd, 0o600)
    do(os.pread, fd, 100, 0)
    put("f", b"another")
    do(os.pread, fd, 100, 0)
    do(os.fstat, fd)
    do(os.close, fd)
    do(got, "f")
    do(os.listdir)


def new_file_deleted_before_it_is_closed(do: Calls) -> None:
    """A scratch file that is deleted at once serves its descriptor and leaves nothing."""
    fd = do(os.open, "scratch", NEW | os.O_EXCL)
    do(os.unlink, "scratch")
    do(os.write, fd, b"x" * 100_000)
    do(os.pread, fd, 100_000, 0)
    do(os.fstat, fd)
    do(os.close, fd)
    do(os.listdir)
