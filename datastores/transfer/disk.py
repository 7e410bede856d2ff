"""The local end of a transfer: files under a hidden name until they are complete."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from datastores.errors import (
    AlreadyExists,
    DatastoresError,
    DiskFull,
    NameRejected,
    NotFound,
    PermissionDenied,
    StoreError,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What all the hidden names hold, in lower case because some disks ignore case.
MARK = ".datastores-"
PART = ".datastores-part"
JOURNAL = ".datastores-journal"
RECORDS = ".datastores-records"
FAILURES = ".datastores-failed.json"
_LONGEST_NAME = 255


def is_ours(name: str) -> bool:
    """Whether a file name belongs to the engine and is never data."""
    return name.startswith(".") and (
        name.endswith((PART, JOURNAL)) or name in (RECORDS, RECORDS + ".new", FAILURES)
    )


def hidden_beside(target: str, suffix: str) -> str:
    """The hidden companion of a file; a name too long for a suffix is replaced by its digest."""
    folder, slash, name = target.rpartition(os.sep)
    hidden = f".{name}{suffix}"
    # Counting bytes costs an encoding, so only names that could be too long are counted.
    if len(hidden) > _LONGEST_NAME // 4 and len(os.fsencode(hidden)) > _LONGEST_NAME:
        digest = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
        hidden = f".{digest}{suffix}"
    return f"{folder}{slash}{hidden}"


class PartBusy(Exception):
    """Another thread or process is writing this file."""


def claim(path: str) -> tuple[int, int]:
    """A descriptor on the part file that nobody else holds, and the file's size.

    `PartBusy` when somebody does.

    The lock ends with the descriptor, hence with the process, however that ends.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | _BINARY, 0o666)
        try:
            _lock(fd)
            # Whoever held it before may have renamed this very file to its final name.
            here = os.stat(path)  # noqa: PTH116  # a Path per file costs 4 us
            ours = os.fstat(fd)
            if here.st_ino == ours.st_ino and here.st_dev == ours.st_dev:
                return fd, ours.st_size
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def claim_in_time(path: str, patience: float, check: Callable[[], None]) -> tuple[int, int, bool]:
    """The claimed part file, its size, and whether somebody else had it first.

    Waits as long as the other one makes progress, and `patience` seconds longer.
    """
    waited = False
    seen: tuple[int, int] | None = None
    deadline = time.monotonic() + patience
    while True:
        try:
            return *claim(path), waited
        except PartBusy:
            waited = True
            check()
            now = _progress(path)
            if now != seen:
                seen, deadline = now, time.monotonic() + patience
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _progress(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path per file costs 4 us
    except FileNotFoundError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_blocks if hasattr(status, "st_blocks") else 0)


# A file system on a disk takes memory in pieces as large as a write, and where memory is fragmented
# those are what a virtual machine gave back to its host and has to get again, page by page: a GiB
# written to ext4 took 0.34 CPU-s so, 0.3 to 2.6 in writes of 256 KiB, 0.4 to 2.9 in writes of 1 MiB,
# and a download of 2 x 512 MiB 2.0 s so, 3.0 in writes of 256 KiB; where memory is in order 2.2 and
# 1.9 s, because threads hand the interpreter over at each write.
GENTLE_BYTES = 64 * 1024


def write_at(fd: int, piece: Buffer, offset: int, most: int = sys.maxsize) -> None:
    """All of the piece in place, at most so many bytes at a time; a short write is continued."""
    view = memoryview(piece).cast("B")
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done : done + most], offset + done)


def write_bytes(fd: int) -> int:
    """How much of a large file to write at a time; tmpfs takes its memory page by page anyway."""
    return sys.maxsize if _is_in_memory(fd) else GENTLE_BYTES


def allocate(fd: int, size: int, *, sparse: bool) -> None:
    """Make the file this long: its blocks reserved, unless holes are wanted or unknown here."""
    if not sparse and hasattr(os, "posix_fallocate") and size and not _is_in_memory(fd):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        else:
            return
    os.ftruncate(fd, size)


def _is_in_memory(fd: int) -> bool:
    """Whether to reserve would be to write: tmpfs fills the pages with zeros at once.

    That took 0.1 to 0.2 s for 512 MiB, in which nothing arrived.
    """
    device = os.fstat(fd).st_dev
    number = f" {os.major(device)}:{os.minor(device)} "
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    return any(number in line and " - tmpfs " in line for line in mounts.splitlines())


def free_bytes(folder: Path) -> int:
    """What may still be written below this folder."""
    if not hasattr(os, "statvfs"):
        import shutil

        return shutil.disk_usage(folder).free
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def blocks_of(path: str) -> int:
    """The bytes a file occupies already; 0 when there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path per file costs 4 us
    except OSError:
        return 0
    return getattr(status, "st_blocks", 0) * 512


def ignores_case(folder: Path) -> bool:
    """Whether `A` and `a` are one file in this folder."""
    probe = folder / f".Case{PART}"
    try:
        probe.touch()
        try:
            return probe.with_name(probe.name.lower()).exists()
        finally:
            probe.unlink(missing_ok=True)
    except OSError:
        # Not writable, or not there: the transfer itself will say so.
        return False


def sync_folder(folder: str) -> None:
    """Make names in this folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Folders:
    """Local folders, made when first needed and remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Under the lock. Forgotten when it grows large: asking again is cheap.
        self._known: set[str] = set()

    def make(self, folder: str) -> None:
        """Make the folder and those above it; a folder that another thread made is fine."""
        if folder in self._known:
            return
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  # a Path per file costs 4 us
        with self._lock:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known.add(folder)


def explain(  # noqa: PLR0911  # one return per kind of trouble
    error: OSError, place: str, name: str
) -> DatastoresError:
    """What went wrong on the local disk, in words that end with a next step."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return DiskFull(
                place,
                name,
                f"{os.strerror(error.errno).lower()}; free some space and run it again, "
                "what has arrived is kept",
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            why = os.strerror(error.errno).lower()
            return PermissionDenied(place, name, f"{why}; choose a folder that you may write to")
        case errno.ENAMETOOLONG:
            rule = f"it is longer than the file system below {place} allows; rename it"
            return NameRejected("local file", name, rule)
        case errno.ENOTDIR | errno.EEXIST:
            return AlreadyExists(
                place, name, "a file stands where a folder is needed; move it or choose another"
            )
        case errno.EISDIR:
            return AlreadyExists(
                place, name, "a folder stands where the file belongs; move it or choose another"
            )
        case errno.ENOENT:
            return NotFound(place, name, "it vanished meanwhile; run it again")
        case _:
            return StoreError(place, name, f"{error.strerror or error}; look at the local disk")


_BINARY = getattr(os, "O_BINARY", 0)

try:
    import fcntl
except ImportError:  # Windows: an open file cannot be renamed there, which serves the same end

    def _lock(fd: int) -> None:
        """Nothing to do."""
else:

    def _lock(fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise PartBusy from busy
        except OSError as error:
            # File systems without locks: two processes must not share a folder there.
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise


def discard(path: str) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  # a Path per file costs 4 us
