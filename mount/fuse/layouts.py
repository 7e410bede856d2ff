"""The kernel's protocol in numbers: structures, request codes, flags (`linux/fuse.h`, 7.45).

Native byte order, no padding: the kernel pads by hand. `..._IN` comes from the kernel, `..._OUT`
goes to it.
"""

from __future__ import annotations

import enum
from struct import Struct

MAJOR = 7
# What is written down here; the kernel and we both speak the smaller of our minor versions.
MINOR = 45
# READDIRPLUS 21, RENAME2 23, max_pages 28; kernels since 4.20 have all of it.
OLDEST_MINOR = 28


class Op(enum.IntEnum):
    """What the kernel asks."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    IOCTL = 39
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46


class Notice(enum.IntEnum):
    """What the kernel is told without having asked."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3
    RESEND = 7


class Init(enum.IntFlag):
    """Abilities that both sides name in INIT; bits from 32 on travel in a second word."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    HANDLE_KILLPRIV = 1 << 19
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    INIT_EXT = 1 << 30
    DIRECT_IO_ALLOW_MMAP = 1 << 36
    PASSTHROUGH = 1 << 37
    HAS_RESEND = 1 << 39


class OpenFlag(enum.IntFlag):
    """How the kernel is to treat an open file."""

    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    NOFLUSH = 1 << 5
    PASSTHROUGH = 1 << 7


class Valid(enum.IntFlag):
    """Which fields of SETATTR count."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    MTIME = 1 << 5
    FH = 1 << 6
    MTIME_NOW = 1 << 8


RENAME_NOREPLACE = 1
GETATTR_FH = 1
# Bit 63 of a request's number: handed out once before, to a server that died over it.
RESENT = 1 << 63

HEADER_IN = Struct("=IIQQIIIHH")  # len, opcode, unique, node, uid, gid, pid, extensions, padding
HEADER_OUT = Struct("=IiQ")  # len, error (a notice's code if unique is 0), unique
MIN_READ_BUFFER = 8192

INIT_IN = Struct("=IIII")  # major, minor, max_readahead, flags
INIT_IN_MORE = Struct("=I")  # flags2, from minor 36
# major, minor, max_readahead, flags, max_background, congestion, max_write, time_gran,
# max_pages, map_alignment, flags2, max_stack_depth, request_timeout
INIT_OUT = Struct("=IIIIHHIIHHIIH22x")

ATTR = "QQQQQQIIIIIIIIII"  # ino size blocks a/m/ctime, their ns, mode nlink uid gid rdev blksize 0
ENTRY_OUT = Struct("=QQQQII" + ATTR)  # node, generation, name and attribute seconds, their ns
ATTR_OUT = Struct("=QII" + ATTR)  # seconds, ns, padding
OPEN_OUT = Struct("=QIi")  # handle, flags, backing id
WRITE_OUT = Struct("=II")
STATFS_OUT = Struct("=QQQQQIIII24x")
DIRENT = Struct("=QQII")  # ino, cookie of the next, length of the name, type
DIRENT_AT = DIRENT.size  # the name follows, padded to 8
DIRENT_PLUS = Struct("=QQQQII" + ATTR + "QQII")  # both, packed at once

FORGET_IN = Struct("=Q")
BATCH_FORGET_IN = Struct("=II")
FORGET_ONE = Struct("=QQ")
GETATTR_IN = Struct("=IIQ")
# valid, fh, size, lock_owner, atime, mtime, ctime, their ns, mode, -, uid, gid, -
SETATTR_IN = Struct("=I4xQQQQQQIIII4xII4x")
MKNOD_IN = Struct("=IIII")  # mode, rdev, umask, padding
MKDIR_IN = Struct("=II")  # mode, umask
RENAME_IN = Struct("=Q")
RENAME2_IN = Struct("=QII")
OPEN_IN = Struct("=II")
CREATE_IN = Struct("=IIII")  # flags, mode, umask, open flags
READ_IN = Struct("=QQIIQII")  # fh, offset, size, flags, lock owner, open flags, padding
WRITE_IN = READ_IN
HANDLE_IN = Struct("=Q")  # FLUSH, RELEASE, FSYNC and FSYNCDIR begin with the handle

INVAL_INODE_OUT = Struct("=Qqq")  # node, offset, length (0: to the end)
INVAL_ENTRY_OUT = Struct("=QII")  # folder, length of the name, flags

# ioctls of /dev/fuse: _IOW(229, 1, {i32 fd, u32 flags, u64 padding}) and _IOW(229, 2, u32)
BACKING_MAP = Struct("=iIQ")
BACKING_ID = Struct("=I")
BACKING_OPEN = (1 << 30) | (BACKING_MAP.size << 16) | (229 << 8) | 1
BACKING_CLOSE = (1 << 30) | (BACKING_ID.size << 16) | (229 << 8) | 2
