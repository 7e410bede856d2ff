"""One file of a local folder: what it is, its bytes, and what the system says against it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from datastores.errors import (
    Corrupted,
    DiskFull,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    Unavailable,
    Unsupported,
)
from datastores.storage.contract import ObjectInfo

PIECE_BYTES = 1024 * 1024

# What a network file system says when its server is away, and what a retry may cure.
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.EINTR}
_NO_COPY_IN_KERNEL = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class LocalStream:
    """An open file: it stays the version that was opened when the name goes to another."""

    def __init__(self, label: str, info: ObjectInfo, fd: int, start: int, end: int) -> None:
        self.info = info
        self._label = label
        self._file = os.fdopen(fd, "rb", buffering=0)
        self._start = start
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        at = self._start
        while at < self._end:
            try:
                piece = os.pread(self.fileno(), min(PIECE_BYTES, self._end - at), at)
            except OSError as error:
                raise translated(self._label, self.info.key, error) from error
            if not piece:
                raise Corrupted(self._label, self.info.key, "it was cut short; read it again")
            at += len(piece)
            if at == self._end:
                self.confirm()
            yield piece

    def fileno(self) -> int:
        return self._file.fileno()

    def confirm(self) -> None:
        """Raise `PreconditionFailed` if the file was changed in place since it was opened."""
        try:
            now = info_of(self.info.key, os.fstat(self.fileno()))
        except OSError as error:
            raise translated(self._label, self.info.key, error) from error
        if now.version != self.info.version:
            raise PreconditionFailed(self._label, self.info.key, "read it again")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def info_of(key: str, status: os.stat_result) -> ObjectInfo:
    """The object a file is; its version changes whenever inode, time or size does."""
    size, modified_ns = status.st_size, status.st_mtime_ns
    return ObjectInfo(key, size, modified_ns, f"{status.st_ino:x}-{modified_ns:x}-{size:x}")


def translated(  # noqa: PLR0911  # a table
    label: str, key: str | None, error: OSError
) -> StoreError:
    """What the system's refusal means for a store."""
    why = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return NotFound(label, key)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return PermissionDenied(
                label, key, f"{why}; ask for access to {error.filename or 'it'}"
            )
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFull(label, key, f"{why}; free space, then run it again")
        case errno.ENAMETOOLONG:
            return Unsupported(label, key, "a name in it is longer than 255 bytes; shorten it")
        case errno.EXDEV:
            return Unsupported(
                label, key, "another file system is mounted there; register that folder on its own"
            )
        case errno.EILSEQ | errno.EINVAL:
            return Unsupported(label, key, f"the file system refuses this ({why}); rename it")
        case errno.ENOSYS | errno.EOPNOTSUPP | errno.EFBIG | errno.EMSGSIZE:
            return Unsupported(label, key, f"{why}; use another store for it")
        case number if number in _PASSING:
            return Unavailable(label, key, why)
    return StoreError(label, key, f"{why}; see to the disk")


def copy_in_kernel(source: int, target: int, size: int) -> bool:
    """Copy without the bytes passing through here; shares them where the file system can."""
    copy = getattr(os, "copy_file_range", None)  # Linux has it, macOS does not
    if copy is None:
        return False
    copied = 0
    try:
        while copied < size:
            step = copy(source, target, size - copied, copied, copied)
            if step == 0:
                return False
            copied += step
    except OSError as error:
        if error.errno not in _NO_COPY_IN_KERNEL:
            raise
        os.ftruncate(target, 0)
        os.lseek(target, 0, os.SEEK_SET)
        return False
    return True
