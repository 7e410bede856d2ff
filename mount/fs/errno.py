"""The numbers that the kernel is told; nothing else turns an error into one."""

from __future__ import annotations

import errno

from datastores import errors
from mount.cache.contract import NoRoom

# The closest named ancestor decides. EIO for what cannot be told more exactly: callers retry
# nothing on their own, and every other number would be read as a statement about the file.
ERRNO: dict[type[BaseException], int] = {
    errors.NotFound: errno.ENOENT,
    errors.AlreadyExists: errno.EEXIST,
    errors.PreconditionFailed: errno.ESTALE,  # the object changed under an open handle
    errors.PermissionDenied: errno.EACCES,
    errors.CredentialError: errno.EACCES,
    errors.Unsupported: errno.ENOTSUP,
    errors.NameRejected: errno.EINVAL,
    errors.CredentialExpired: errno.EKEYEXPIRED,
    errors.DatastoresError: errno.EIO,
    NoRoom: errno.ENOSPC,
    NotImplementedError: errno.ENOTSUP,
    MemoryError: errno.ENOMEM,
    FileNotFoundError: errno.ENOENT,
    FileExistsError: errno.EEXIST,
    NotADirectoryError: errno.ENOTDIR,
    IsADirectoryError: errno.EISDIR,
    PermissionError: errno.EACCES,
}


def errno_for(error: BaseException) -> int:
    """The number for an error; EIO for one that nobody named."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    for kind in type(error).__mro__:
        if kind in ERRNO:
            return ERRNO[kind]
    return errno.EIO


def is_expected(error: BaseException) -> bool:
    """Whether the error is an answer; anything else is a defect that somebody should see."""
    return isinstance(error, (OSError, errors.DatastoresError, NoRoom, NotImplementedError))
