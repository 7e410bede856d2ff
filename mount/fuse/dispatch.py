"""Each request of the kernel as a call of the file system."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from datastores.value import Value
from mount.fs.contract import Access, Change, Child, Entry, Errand, FileSystem, Opened, WouldWait
from mount.fuse import answers, layouts
from mount.fuse.answers import Answers
from mount.fuse.journal import Journal, OpenHandle
from mount.fuse.layouts import Op, OpenFlag, Valid
from mount.fuse.passthrough import (
    INODE_MASK,
    KEEP_CACHE,
    PASSTHROUGH,
    Admission,
    Passthrough,
)
from mount.fuse.request import Request

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Called with wait=False first. None: the kernel expects no answer.
Handler = Callable[[Request, bool], "Buffer | None"]

CACHE_DIR = int(OpenFlag.CACHE_DIR)
READ_WRITE = Access.READ | Access.WRITE
WRITING = os.O_ACCMODE | os.O_TRUNC
SMALLEST_LINE = 32
SMALLEST_LINE_WITH_ENTRY = SMALLEST_LINE + layouts.ENTRY_OUT.size
# After ENOSYS the kernel stops asking and answers by itself: extended attributes with ENOTSUP,
# access() by the mode bits, SEEK_DATA and SEEK_HOLE as if the file had no holes.
NEVER_AGAIN = (
    Op.SETXATTR,
    Op.GETXATTR,
    Op.LISTXATTR,
    Op.REMOVEXATTR,
    Op.ACCESS,
    Op.LSEEK,
)


def _drop_nothing(_node: int) -> None:
    """Nobody can tell the kernel."""


class Dispatch:
    """The table from request codes to the file system."""

    def __init__(
        self,
        filesystem: FileSystem,
        passthrough: Passthrough,
        journal: Journal | None,
        umask: int,
        handles: Sequence[OpenHandle] = (),
        drop_pages: Callable[[int], None] = _drop_nothing,
    ) -> None:
        self.filesystem = filesystem
        self.passthrough = passthrough
        self.journal = journal
        # Told of a node whose pages nobody will read any more.
        self.drop_pages = drop_pages
        self.answers = Answers(umask, passthrough.node_for)
        # By the request that each answered: asked again, the kernel never got the answer.
        self.orphans = {handle.unique: handle for handle in handles}
        self.folders_before = {handle.handle for handle in handles if handle.is_folder}

    def table(self) -> dict[int, Handler]:
        """The handler of every known request."""
        return {
            Op.LOOKUP: self.lookup,
            Op.FORGET: self.forget,
            Op.BATCH_FORGET: self.batch_forget,
            Op.GETATTR: self.getattr,
            Op.SETATTR: self.setattr,
            Op.READLINK: self.readlink,
            Op.SYMLINK: self.symlink,
            Op.MKNOD: self.mknod,
            Op.MKDIR: self.mkdir,
            Op.UNLINK: self.unlink,
            Op.RMDIR: self.rmdir,
            Op.RENAME: self.rename,
            Op.RENAME2: self.rename2,
            Op.LINK: Refusal(errno.EPERM),
            Op.OPEN: self.open,
            Op.CREATE: self.create,
            Op.READ: self.read,
            Op.WRITE: self.write,
            Op.FLUSH: self.flush,
            Op.FSYNC: self.fsync,
            Op.RELEASE: self.release,
            Op.OPENDIR: self.opendir,
            Op.READDIR: self.readdir,
            Op.READDIRPLUS: self.readdirplus,
            Op.RELEASEDIR: self.releasedir,
            # Names are in the store when the operation that made them returns.
            Op.FSYNCDIR: lambda _request, _wait: b"",
            Op.STATFS: self.statfs,
            Op.FALLOCATE: Refusal(errno.ENOTSUP),
            Op.IOCTL: Refusal(errno.ENOTTY),
            Op.DESTROY: lambda _request, _wait: b"",
            **dict.fromkeys(NEVER_AGAIN, Refusal(errno.ENOSYS)),
        }

    def withdraw(self, request: Request, answer: Buffer) -> None:
        """Take back what an answer promised that the kernel did not accept."""
        promised = bytes(answer)
        op = request.op
        node, at = request.node, 0
        if op in {Op.LOOKUP, Op.MKDIR, Op.SYMLINK, Op.MKNOD, Op.CREATE}:
            (node,) = layouts.HANDLE_IN.unpack_from(promised)
            at = layouts.ENTRY_OUT.size
            if node:
                self.filesystem.forget(node & INODE_MASK, 1)
        if op == Op.READDIRPLUS:
            for child, count in answers.lookups_in(promised).items():
                self.filesystem.forget(child & INODE_MASK, count)
        if op in {Op.OPEN, Op.CREATE}:
            self._let_go(node, layouts.OPEN_OUT.unpack_from(promised, at)[0])
        if op == Op.OPENDIR:
            self._let_go_folder(layouts.OPEN_OUT.unpack_from(promised)[0])

    def lookup(self, request: Request, wait: bool) -> bytes:
        name = bytes(request.body[:-1])
        return self.answers.entry(self.filesystem.lookup(request.inode, name, wait=wait))

    def forget(self, request: Request, _wait: bool) -> None:
        (lookups,) = layouts.FORGET_IN.unpack_from(request.body)
        self.filesystem.forget(request.inode, lookups)

    def batch_forget(self, request: Request, _wait: bool) -> None:
        count, _ = layouts.BATCH_FORGET_IN.unpack_from(request.body)
        start = layouts.BATCH_FORGET_IN.size
        lines = request.body[start : start + count * layouts.FORGET_ONE.size]
        for node, lookups in layouts.FORGET_ONE.iter_unpack(lines):
            self.filesystem.forget(node & INODE_MASK, lookups)

    def getattr(self, request: Request, wait: bool) -> bytes:
        flags, _, handle = layouts.GETATTR_IN.unpack_from(request.body)
        known = handle if flags & layouts.GETATTR_FH else None
        return self.answers.attributes(self.filesystem.getattr(request.inode, known, wait=wait))

    def setattr(self, request: Request, wait: bool) -> bytes:
        handle, change = _change(request.body)
        entry = self.filesystem.setattr(request.inode, handle, change, wait=wait)
        return self.answers.attributes(entry)

    def readlink(self, request: Request, wait: bool) -> bytes:
        return self.filesystem.readlink(request.inode, wait=wait)

    def symlink(self, request: Request, wait: bool) -> bytes:
        name, target = request.names()
        entry = self._made_before(
            request,
            name,
            lambda: self.filesystem.symlink(request.inode, name, target, wait=wait),
            wait=wait,
        )
        return self.answers.entry(entry)

    def mkdir(self, request: Request, wait: bool) -> bytes:
        mode, _ = layouts.MKDIR_IN.unpack_from(request.body)
        name = request.name(layouts.MKDIR_IN.size)
        entry = self._made_before(
            request,
            name,
            lambda: self.filesystem.mkdir(request.inode, name, mode & 0o7777, wait=wait),
            wait=wait,
        )
        return self.answers.entry(entry)

    def mknod(self, request: Request, wait: bool) -> bytes:
        """Regular files only: a store has no devices."""
        mode, *_ = layouts.MKNOD_IN.unpack_from(request.body)
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        if not wait:
            raise WouldWait
        entry, opened = self.filesystem.create(
            request.inode,
            request.name(layouts.MKNOD_IN.size),
            mode & 0o7777,
            Access.WRITE,
            exclusive=not request.resent,
            wait=wait,
        )
        # Nobody will close it; what is not durable now would be lost without a word.
        try:
            self.filesystem.flush(opened.handle, wait=True)
        except BaseException:
            self.filesystem.forget(entry.attributes.inode, 1)
            raise
        finally:
            self.filesystem.release(opened.handle)
        return self.answers.entry(entry)

    def unlink(self, request: Request, wait: bool) -> bytes:
        with _gone_is_done(request):
            self.filesystem.unlink(request.inode, request.name(), wait=wait)
        return b""

    def rmdir(self, request: Request, wait: bool) -> bytes:
        with _gone_is_done(request):
            self.filesystem.rmdir(request.inode, request.name(), wait=wait)
        return b""

    def rename(self, request: Request, wait: bool) -> bytes:
        (folder,) = layouts.RENAME_IN.unpack_from(request.body)
        return self._rename(request, folder, layouts.RENAME_IN.size, replace=True, wait=wait)

    def rename2(self, request: Request, wait: bool) -> bytes:
        folder, flags, _ = layouts.RENAME2_IN.unpack_from(request.body)
        if flags & ~layouts.RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        replace = not flags & layouts.RENAME_NOREPLACE
        return self._rename(request, folder, layouts.RENAME2_IN.size, replace=replace, wait=wait)

    def open(self, request: Request, wait: bool) -> bytes:
        flags, _ = layouts.OPEN_IN.unpack_from(request.body)
        access = Access.READ if not flags & WRITING else _access(flags)
        # Before the file system is asked: a truncation could not be taken back.
        if access is not Access.READ and self.passthrough.makes_way(request.node):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        if request.resent:
            self._drop_orphan(request)
        opened = self.filesystem.open(
            request.inode,
            access,
            truncate=bool(flags & os.O_TRUNC),
            append=bool(flags & os.O_APPEND),
            wait=wait,
        )
        admission = self.passthrough.admit(request.node, opened, access)
        if admission is None:
            self.filesystem.release(opened.handle)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._opened(request, request.node, access, opened, admission)

    def errand(self, request: Request) -> Errand | None:
        """What an open for reading waits for, on its way; None for everything else."""
        if request.op != Op.OPEN:
            return None
        flags, _ = layouts.OPEN_IN.unpack_from(request.body)
        return None if flags & (WRITING | os.O_TRUNC) else self.filesystem.errand(request.inode)

    def create(self, request: Request, wait: bool) -> bytes:
        flags, mode, _, _ = layouts.CREATE_IN.unpack_from(request.body)
        access = _access(flags)
        self._drop_orphan(request)
        entry, opened = self.filesystem.create(
            request.inode,
            request.name(layouts.CREATE_IN.size),
            mode & 0o7777,
            access,
            exclusive=bool(flags & os.O_EXCL) and not request.resent,
            wait=wait,
        )
        # Somebody else may have made the file meanwhile, and readers may have it backed: the
        # answer names the node, so a move needs no second look-up here.
        node, admission = 0, None
        while admission is None:
            node = self.passthrough.node_for(entry.attributes.inode)
            if not (access is not Access.READ and self.passthrough.makes_way(node)):
                admission = self.passthrough.admit(node, opened, access)
        answer = self.answers.entry(entry)
        return answer + self._opened(request, node, access, opened, admission)

    def read(self, request: Request, wait: bool) -> Buffer:
        handle, offset, size, *_ = layouts.READ_IN.unpack_from(request.body)
        return self.filesystem.read(handle, offset, size, wait=wait)

    def write(self, request: Request, wait: bool) -> bytes:
        handle, offset, size, *_ = layouts.WRITE_IN.unpack_from(request.body)
        start = layouts.WRITE_IN.size
        with request.body[start : start + size] as data:
            taken = self.filesystem.write(handle, offset, data, wait=wait)
        return layouts.WRITE_OUT.pack(taken, 0)

    def flush(self, request: Request, wait: bool) -> bytes:
        (handle,) = layouts.HANDLE_IN.unpack_from(request.body)
        self.filesystem.flush(handle, wait=wait)
        return b""

    def fsync(self, request: Request, wait: bool) -> bytes:
        (handle,) = layouts.HANDLE_IN.unpack_from(request.body)
        self.filesystem.fsync(handle, wait=wait)
        return b""

    def release(self, request: Request, _wait: bool) -> bytes:
        (handle,) = layouts.HANDLE_IN.unpack_from(request.body)
        if not request.resent or self.passthrough.holds(request.node, handle):
            self._let_go(request.node, handle)
        return b""

    def opendir(self, request: Request, wait: bool) -> bytes:
        self._drop_orphan(request)
        handle, may_cache, keep_cache = self.filesystem.opendir(request.inode, wait=wait)
        if self.journal is not None:
            unique = request.unique & ~layouts.RESENT
            self.journal.opened(OpenHandle(handle, request.node, Access.READ, True, unique))
        flags = (CACHE_DIR if may_cache else 0) | (KEEP_CACHE if keep_cache else 0)
        return layouts.OPEN_OUT.pack(handle, flags, 0)

    def readdir(self, request: Request, wait: bool) -> bytes:
        children, size = self._children(request, SMALLEST_LINE, entries=False, wait=wait)
        return self.answers.folder(children, size)

    def readdirplus(self, request: Request, wait: bool) -> bytes:
        children, size = self._children(request, SMALLEST_LINE_WITH_ENTRY, entries=True, wait=wait)
        listing, counted = self.answers.folder_with_entries(children, size)
        # Before the answer: the kernel may forget an entry as soon as it has it.
        self.filesystem.remember(counted)
        return listing

    def _children(
        self, request: Request, smallest: int, *, entries: bool, wait: bool
    ) -> tuple[Sequence[Child], int]:
        handle, cookie, size, *_ = layouts.READ_IN.unpack_from(request.body)
        dots = answers.dots(request.inode)[cookie:]
        after = max(0, cookie - len(answers.DOTS))
        most = max(1, size // smallest)
        children = self.filesystem.readdir(handle, after, most, entries=entries, wait=wait)
        return [*dots, *children], size

    def releasedir(self, request: Request, _wait: bool) -> bytes:
        (handle,) = layouts.HANDLE_IN.unpack_from(request.body)
        if not request.resent or handle in self.folders_before:
            self._let_go_folder(handle)
        return b""

    def statfs(self, _request: Request, wait: bool) -> bytes:
        return answers.space(self.filesystem.statfs(wait=wait))

    def _opened(
        self, request: Request, node: int, access: Access, opened: Opened, admission: Admission
    ) -> bytes:
        flags, backing_id, file = admission
        if self.journal is not None:
            unique = request.unique & ~layouts.RESENT
            known_as = backing_id if flags & PASSTHROUGH else None
            self.journal.opened(
                OpenHandle(opened.handle, node, access, False, unique, file, known_as)
            )
        return layouts.OPEN_OUT.pack(opened.handle, flags, backing_id)

    def _let_go(self, node: int, handle: int) -> None:
        backing = self.passthrough.release(node, handle)
        self.filesystem.release(handle)
        if backing is not None and backing.is_complete:
            # The next open would drop them and wait for it: 22 to 30 ms for 256 MiB, which is more
            # than half of the time in which the kernel reads as much from the backing file.
            self.drop_pages(node)
        if self.journal is not None:
            self.journal.closed(handle, is_folder=False)

    def _let_go_folder(self, handle: int) -> None:
        self.filesystem.releasedir(handle)
        if self.journal is not None:
            self.journal.closed(handle, is_folder=True)

    def _drop_orphan(self, request: Request) -> None:
        """A handle was given out for this request before, and died on its way."""
        if not request.resent:
            return
        orphan = self.orphans.pop(request.unique & ~layouts.RESENT, None)
        if orphan is not None and orphan.is_folder:
            self._let_go_folder(orphan.handle)
        elif orphan is not None:
            self._let_go(orphan.node, orphan.handle)

    def _rename(
        self, request: Request, folder: int, names_at: int, *, replace: bool, wait: bool
    ) -> bytes:
        name, new_name = request.names(names_at)
        with _gone_is_done(request):
            self.filesystem.rename(
                request.inode, name, folder & INODE_MASK, new_name, replace=replace, wait=wait
            )
        return b""

    def _made_before(
        self, request: Request, name: bytes, make: Callable[[], Entry], *, wait: bool
    ) -> Entry:
        try:
            return make()
        except FileExistsError:
            if not request.resent:
                raise
            return self.filesystem.lookup(request.inode, name, wait=wait)


class _gone_is_done:  # noqa: N801 - reads as a statement
    """A removal that was handed out before has succeeded if the name is gone."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return self.request.resent and kind is not None and issubclass(kind, FileNotFoundError)


class Refusal(Value):
    """A handler that always says no, with the same number; the session need not even ask it.

    Python's `open` asks each file whether it is a terminal: one IOCTL for every file that is read.
    """

    number: int

    def __call__(self, _request: Request, _wait: bool) -> bytes:
        raise OSError(self.number, os.strerror(self.number))


def _access(flags: int) -> Access:
    mode = flags & os.O_ACCMODE
    if mode == os.O_WRONLY:
        return Access.WRITE
    if mode == os.O_RDWR or flags & os.O_TRUNC:
        return READ_WRITE
    return Access.READ


def _change(body: memoryview) -> tuple[int | None, Change]:
    (
        valid,
        handle,
        size,
        _owner,
        _atime,
        mtime,
        _ctime,
        _atime_ns,
        mtime_ns,
        _ctime_ns,
        mode,
        uid,
        gid,
    ) = layouts.SETATTR_IN.unpack_from(body)
    modified = None
    if valid & Valid.MTIME_NOW:
        modified = time.time_ns()
    elif valid & Valid.MTIME:
        modified = _signed(mtime) * answers.SECOND + mtime_ns
    return handle if valid & Valid.FH else None, Change(
        size=size if valid & Valid.SIZE else None,
        permissions=mode & 0o7777 if valid & Valid.MODE else None,
        owner=uid if valid & Valid.UID else None,
        group=gid if valid & Valid.GID else None,
        modified_ns=modified,
    )


def _signed(seconds: int) -> int:
    return seconds - (1 << 64) if seconds >> 63 else seconds
