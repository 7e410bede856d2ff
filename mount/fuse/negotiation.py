"""INIT: what kernel and adapter agree on. Pure."""

from __future__ import annotations

from datastores.value import Value
from mount.fuse import layouts
from mount.fuse.layouts import Init
from mount.fuse.options import MountOptions

# Not asked for: WRITEBACK_CACHE (the kernel would own sizes and times, which belong to the store),
# NO_OPEN_SUPPORT (an open pins a version), POSIX locks (local ones are right: one node, one mount).
WANTED = (
    Init.ASYNC_READ
    | Init.ATOMIC_O_TRUNC
    | Init.BIG_WRITES
    | Init.AUTO_INVAL_DATA
    | Init.DO_READDIRPLUS
    | Init.READDIRPLUS_AUTO
    | Init.ASYNC_DIO
    | Init.PARALLEL_DIROPS
    | Init.HANDLE_KILLPRIV
    | Init.MAX_PAGES
    | Init.CACHE_SYMLINKS
    | Init.INIT_EXT
    | Init.DIRECT_IO_ALLOW_MMAP
    | Init.HAS_RESEND
)
PAGE = 4096
# Reads that the kernel starts ahead of the reader, at the same time.
BACKGROUND = 64
# Backing files may lie on an overlay (containers): announced 1, the kernel refuses those.
STACK_DEPTH = 2


class Agreement(Value):
    """What both sides can do."""

    minor: int
    flags: Init
    readahead_bytes: int
    request_bytes: int

    @property
    def passthrough(self) -> bool:
        return Init.PASSTHROUGH in self.flags

    @property
    def resend(self) -> bool:
        return Init.HAS_RESEND in self.flags

    @property
    def buffer_bytes(self) -> int:
        """Room for the largest request: a full WRITE and its headers."""
        return max(layouts.MIN_READ_BUFFER, self.request_bytes + PAGE)


def agree(body: memoryview, options: MountOptions) -> Agreement | None:
    """The agreement that answers an INIT; None if the kernel is too old."""
    major, minor, readahead, low = layouts.INIT_IN.unpack_from(body)
    if major < layouts.MAJOR or (major == layouts.MAJOR and minor < layouts.OLDEST_MINOR):
        return None
    high = 0
    if low & Init.INIT_EXT:
        (high,) = layouts.INIT_IN_MORE.unpack_from(body, layouts.INIT_IN.size)
    wanted = WANTED | (Init.PASSTHROUGH if options.passthrough else Init(0))
    return Agreement(
        min(minor, layouts.MINOR),
        Init((low | high << 32) & wanted),
        min(readahead, options.readahead_bytes),
        options.request_bytes,
    )


def init_reply(agreement: Agreement) -> bytes:
    """The body of the answer to INIT."""
    return layouts.INIT_OUT.pack(
        layouts.MAJOR,
        agreement.minor,
        agreement.readahead_bytes,
        agreement.flags & 0xFFFFFFFF,
        BACKGROUND,
        BACKGROUND * 3 // 4,
        agreement.request_bytes,
        1,
        agreement.request_bytes // PAGE,
        0,
        agreement.flags >> 32,
        STACK_DEPTH if agreement.passthrough else 0,
        0,
    )
