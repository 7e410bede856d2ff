"""Modes, owners, times, rights."""

# Bare system calls are what is tested here.
# ruff: noqa: PTH101, PTH102, PTH104, PTH110, PTH116, PTH208, PTH211

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable

from tests.mount.posix.calls import Calls, got, put

NOBODY = 65534
SECOND = 10**9


def modes(do: Calls) -> None:
    """chmod and fchmod set every bit of files and folders, whatever the umask."""
    put("f")
    os.mkdir("d")
    os.symlink("f", "link")
    fd = os.open("f", os.O_RDONLY)
    for mode in (0o000, 0o777, 0o640, 0o4755, 0o2755, 0o1777, 0o7777, 0o644):
        do(os.chmod, "f", mode)
        do(os.stat, "f")
        do(os.chmod, "d", mode)
        do(os.stat, "d")
        do(os.fchmod, fd, mode ^ 0o111)
        do(os.fstat, fd)
    do(os.chmod, "link", 0o600)
    do(os.stat, "f")
    do(os.lstat, "link")
    do(os.chmod, "no", 0o600)


def modes_stay_with_the_file(do: Calls) -> None:
    """A mode survives writing, closing, renaming, and goes with the file."""
    put("f", b"1")
    do(os.chmod, "f", 0o751)
    put("f", b"22")
    do(os.rename, "f", "g")
    do(os.stat, "g")
    os.mkdir("d")
    do(os.chmod, "d", 0o710)
    do(os.rename, "d", "e")
    do(os.stat, "e")
    do(os.unlink, "g")
    put("g")
    do(os.stat, "g")


def owners(do: Calls) -> None:
    """chown by root sets owner and group, -1 leaves one alone."""
    put("f")
    os.mkdir("d")
    os.symlink("f", "link")
    for owner, group in ((NOBODY, 7), (-1, 8), (9, -1), (-1, -1), (0, 0)):
        do(os.chown, "f", owner, group)
        do(os.stat, "f")
        do(os.chown, "d", owner, group)
        do(os.stat, "d")
    do(os.chown, "link", 5, 5)
    do(os.stat, "f")
    do(os.chown, "no", 1, 1)


def times(do: Calls) -> None:
    """utimens sets the time of files and folders to the nanosecond, long ago and far ahead, too."""
    put("f")
    os.mkdir("d")
    fd = os.open("f", os.O_RDONLY)
    for moment in (0, 1, 1_500_000_000_123_456_789, -5 * SECOND + 7, 4_000_000_000 * SECOND):
        for name in ("f", "d", fd):
            do(os.utime, name, ns=(moment, moment))
            do(lambda name=name: os.stat(name).st_mtime_ns)
    do(os.utime, "no", ns=(1, 1))


def times_of_links(do: Calls) -> None:
    """A link's own time is set without touching what it names."""
    put("f")
    os.utime("f", ns=(SECOND, SECOND))
    os.symlink("f", "link")
    do(os.utime, "link", ns=(2 * SECOND, 2 * SECOND), follow_symlinks=False)
    do(lambda: os.lstat("link").st_mtime_ns)
    do(os.utime, "link", ns=(3 * SECOND, 3 * SECOND))
    do(lambda: (os.stat("f").st_mtime_ns, os.lstat("link").st_mtime_ns))


def times_now_and_not_at_all(do: Calls) -> None:
    """UTIME_NOW sets the present, UTIME_OMIT leaves the time alone."""
    put("f")
    os.utime("f", ns=(SECOND, SECOND))
    before = time.time_ns()
    do(subprocess.run, ["touch", "-a", "f"], check=True)
    do(lambda: os.stat("f").st_mtime_ns)
    do(os.utime, "f")
    do(lambda: is_now("f", before))
    os.utime("f", ns=(SECOND, SECOND))
    do(subprocess.run, ["touch", "-m", "f"], check=True)
    do(lambda: is_now("f", before))


def is_now(name: str, before_ns: int) -> bool:
    """Whether the file's time lies between a moment and the present, give or take a clock tick."""
    return before_ns - SECOND // 50 <= os.stat(name).st_mtime_ns <= time.time_ns() + SECOND // 50


def changes_show_in_the_time(do: Calls) -> None:
    """Writing and cutting set the time to the present; reading, renaming and chmod do not."""
    put("f", b"12345")
    before = time.time_ns()
    changes: list[Callable[[], object]] = [
        lambda: put("f", b"1"),
        lambda: os.truncate("f", 0),
        lambda: os.truncate("f", 100),
        lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC)),
    ]
    for change in changes:
        os.utime("f", ns=(SECOND, SECOND))
        change()
        do(lambda: is_now("f", before))
    os.utime("f", ns=(SECOND, SECOND))
    others: list[Callable[[], object]] = [
        lambda: got("f"),
        lambda: os.chmod("f", 0o600),
        lambda: os.close(os.open("f", os.O_RDWR)),
        lambda: os.close(os.open("f", os.O_CREAT | os.O_WRONLY)),
        lambda: os.rename("f", "g"),
        lambda: os.rename("g", "f"),
    ]
    for idle in others:
        idle()
        do(lambda: os.stat("f").st_mtime_ns if os.path.exists("f") else os.stat("g").st_mtime_ns)


def time_set_on_an_open_file(do: Calls) -> None:
    """A time that is set on a descriptor before its close is kept, as cp and tar need it."""
    fd = os.open("f", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"1")
    do(os.utime, fd, ns=(7 * SECOND, 7 * SECOND))
    os.close(fd)
    do(lambda: os.stat("f").st_mtime_ns)
    do(os.rename, "f", "g")
    do(lambda: os.stat("g").st_mtime_ns)


def rights_of_somebody_else(do: Calls) -> None:
    """Who is not the owner may do what the bits say, and EACCES is the answer to the rest."""
    put("open", b"1", 0o644)
    put("closed", b"2", 0o600)
    os.mkdir("theirs")
    os.chmod("theirs", 0o755)
    put("theirs/f", b"3")
    os.mkdir("secret", 0o700)
    put("secret/f", b"4")
    os.mkdir("shared")
    os.chmod("shared", 0o777)
    os.mkdir("sticky")
    os.chmod("sticky", 0o1777)
    put("sticky/f", b"5")
    os.chmod(".", 0o755)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    for name in ("open", "closed", "theirs/f", "secret/f", "secret/no", "sticky/f"):
        do(os.open, name, os.O_RDONLY)
        do(os.open, name, os.O_WRONLY)
        do(os.open, name, os.O_RDONLY | os.O_TRUNC)
        do(os.stat, name)
        do(os.chmod, name, 0o777)
        do(os.utime, name)
        do(os.utime, name, ns=(1, 1))
        do(os.truncate, name, 0)
        do(os.chown, name, NOBODY, NOBODY)
        do(os.access, name, os.R_OK)
        do(os.access, name, os.W_OK)
    for place in (".", "theirs", "secret", "shared", "sticky"):
        do(lambda place=place: sorted(os.listdir(place)))
        do(os.mkdir, f"{place}/mine")
        do(put, f"{place}/own", b"x")
        do(os.unlink, f"{place}/f")
        do(os.rename, f"{place}/f", f"{place}/renamed")
    do(lambda: sorted(os.listdir("shared")))


def access_by_root(do: Calls) -> None:
    """access() tells root about rights as the bits say, and about names that are missing."""
    put("f", b"", 0o600)
    put("x", b"", 0o711)
    os.mkdir("d", 0o000)
    for name in ("f", "x", "d", "no"):
        for way in (os.F_OK, os.R_OK, os.W_OK, os.X_OK):
            do(os.access, name, way)


def programs_are_started(do: Calls) -> None:
    """A script with its bit set runs from the folder, without the bit it does not."""
    put("script", b"#!/bin/sh\necho ran $1\n", 0o755)
    put("plain", b"#!/bin/sh\necho ran\n", 0o644)
    ran = do(lambda: subprocess.run(["./script", "well"], capture_output=True, check=True).stdout)
    do.note("said", ran)
    do(lambda: subprocess.run(["./plain"], check=True))


def room_for_more(do: Calls) -> None:
    """statvfs says that names may have 255 bytes and that there is room."""
    status = os.statvfs(".")
    do.note("names", status.f_namemax)
    do.note("room", status.f_bavail > 0 and status.f_ffree > 0)
    do(lambda: stat.S_ISDIR(os.stat(".").st_mode))


def nothing_is_seen_of_the_cache(do: Calls) -> None:
    """A file's size is seen by every way to ask, before and after it is closed."""
    fd = os.open("f", os.O_WRONLY | os.O_CREAT)
    for size in (1, 4096, 4097, 100_000):
        os.write(fd, b"x" * size)
        do(os.fstat, fd)
        do(os.stat, "f")
        do(lambda: next(os.scandir()).stat().st_size)
    os.close(fd)
    do(os.stat, "f")
    do(lambda: next(os.scandir()).stat().st_size)
