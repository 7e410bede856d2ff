"""Each call of libfuse, by path, as calls of the file system, by inode."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datastores.value import Value
from mount.fs.contract import Access, Change, FileSystem, Opened, WouldWait
from mount.libfuse import shown
from mount.libfuse.pages import Pages
from mount.libfuse.places import Place, Places, split

# Called with wait=False first, again with wait=True after WouldWait.
Call = Callable[..., Any]

READ_WRITE = Access.READ | Access.WRITE
# What libfuse calls a file that is removed while somebody has it open.
HIDDEN = re.compile(rb"\.fuse_hidden[0-9a-f]{16}")
UNCHANGED = 0xFFFFFFFF
# To an open: the handle, whether cached pages are still true, whether to go past them.
Answer = tuple[int, bool, bool]
# Lines of a listing in one answer: libfuse takes about 100 at once, and asks again for the rest.
LINES = 128


class Handed(Value):
    """A handle that libfuse holds."""

    handle: int
    place: Place
    path: bytes


@dataclass(slots=True)
class Hidden:
    """A file that was removed while it was open, and the folder where libfuse thinks it is."""

    place: Place
    folder: bytes


class Backed(Value):
    """An answer to an open whose bytes libfuse's process may read from this file itself."""

    answer: Answer
    fd: int


class Calls:
    """The table of calls; handles and paths of one mount."""

    def __init__(self, filesystem: FileSystem, umask: int) -> None:
        self.filesystem = filesystem
        self.umask = umask
        self.places = Places(filesystem)
        self.pages = Pages()
        self._lock = threading.Lock()
        # All under the lock.
        self._handles: dict[int, Handed] = {}
        self._folders: dict[int, Handed] = {}
        # Removed files that are still open, by the name that libfuse gave them. The file system
        # has removed them for good; it never hears of these names.
        self._hidden: dict[bytes, Hidden] = {}

    def table(self) -> dict[str, Call]:
        """Every call by its name."""
        names = (
            *("getattr", "fgetattr", "readlink", "opendir", "readdir", "releasedir", "mknod"),
            *("mkdir", "unlink", "rmdir", "symlink", "rename", "chmod", "chown", "truncate"),
            *("ftruncate", "utimens", "open", "create", "read", "write", "flush", "fsync"),
            *("release", "statfs"),
        )
        return {name: getattr(self, name) for name in names}

    def close(self) -> None:
        """Give back what libfuse still held when it went."""
        with self._lock:
            handles, self._handles = self._handles, {}
            folders, self._folders = self._folders, {}
            hidden, self._hidden = self._hidden, {}
        for handed in handles.values():
            self.filesystem.release(handed.handle)
            self.places.let_go(handed.place)
        for handed in folders.values():
            self.filesystem.releasedir(handed.handle)
            self.places.let_go(handed.place)
        for one in hidden.values():
            self.places.let_go(one.place)
        self.places.close()

    def getattr(self, path: bytes, *, wait: bool) -> shown.Status:
        hidden = self._hidden_at(path)
        if hidden is not None:
            entry = self.filesystem.getattr(hidden.inode, None, wait=wait)
        else:
            entry = self.places.look_up(path, wait=wait)
        return shown.status(entry.attributes, self.umask)

    def fgetattr(self, number: int, *, wait: bool) -> shown.Status:
        handed = self._handles[number]
        entry = self.filesystem.getattr(handed.place.inode, handed.handle, wait=wait)
        return shown.status(entry.attributes, self.umask)

    def readlink(self, path: bytes, *, wait: bool) -> bytes:
        with self.places.at(path, wait=wait) as inode:
            return self.filesystem.readlink(inode, wait=wait)

    def opendir(self, path: bytes, *, wait: bool) -> int:
        place = self.places.keep(path, wait=wait)
        try:
            number = self.filesystem.opendir(place.inode, wait=wait).handle
        except BaseException:
            self.places.let_go(place)
            raise
        with self._lock:
            self._folders[number] = Handed(number, place, path)
        return number

    def readdir(self, number: int, cookie: int, *, wait: bool) -> list[shown.Line]:
        handed = self._folders[number]
        after = max(0, cookie - len(shown.DOTS))
        children = self.filesystem.readdir(handed.handle, after, LINES, entries=False, wait=wait)
        return [*shown.dots(handed.place.inode, cookie), *map(shown.line, children)]

    def releasedir(self, number: int, *, wait: bool) -> None:
        del wait
        with self._lock:
            handed = self._folders.pop(number)
        self.filesystem.releasedir(handed.handle)
        self.places.let_go(handed.place)

    def mknod(self, path: bytes, mode: int, *, wait: bool) -> None:
        """Regular files only: a store has no devices."""
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        if not wait:
            raise WouldWait
        number, *_ = self._created(path, mode, Access.WRITE, exclusive=True, wait=True)
        # Nobody will close it; what is not durable now would be lost without a word.
        try:
            self.filesystem.flush(self._handles[number].handle, wait=True)
        finally:
            self.release(number, wait=False)

    def mkdir(self, path: bytes, mode: int, *, wait: bool) -> None:
        folder, name = split(path)
        with self.places.at(folder, wait=wait) as inode:
            entry = self.filesystem.mkdir(inode, name, mode & 0o7777, wait=wait)
        self.places.remember(path, entry)

    def unlink(self, path: bytes, *, wait: bool) -> None:
        folder, name = split(path)
        if HIDDEN.fullmatch(name):
            with self._lock:
                hidden = self._hidden.pop(name, None)
            if hidden is not None:
                self.places.let_go(hidden.place)
            return
        with self.places.at(folder, wait=wait) as inode:
            self.filesystem.unlink(inode, name, wait=wait)
        self.places.drop(path)
        self.pages.moved()

    def rmdir(self, path: bytes, *, wait: bool) -> None:
        folder, name = split(path)
        with self._lock:
            is_needed = any(one.folder == path for one in self._hidden.values())
        if is_needed:
            # libfuse would find no path to the open file any more.
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        with self.places.at(folder, wait=wait) as inode:
            self.filesystem.rmdir(inode, name, wait=wait)
        self.places.drop(path)

    def symlink(self, target: bytes, path: bytes, *, wait: bool) -> None:
        folder, name = split(path)
        with self.places.at(folder, wait=wait) as inode:
            entry = self.filesystem.symlink(inode, name, target, wait=wait)
        self.places.remember(path, entry)

    def rename(self, path: bytes, new_path: bytes, *, wait: bool) -> None:
        (folder, name), (new_folder, new_name) = split(path), split(new_path)
        if HIDDEN.fullmatch(new_name):
            self._hide(path, new_name, wait=wait)
            return
        with (
            self.places.at(folder, wait=wait) as inode,
            self.places.at(new_folder, wait=wait) as new_inode,
        ):
            self.filesystem.rename(inode, name, new_inode, new_name, replace=True, wait=wait)
        self.places.drop(path)
        self.places.drop(new_path)
        self.pages.moved()
        with self._lock:
            for one in self._hidden.values():
                one.folder = _moved(one.folder, path, new_path)

    def chmod(self, path: bytes, mode: int, *, wait: bool) -> None:
        self._change(path, Change(permissions=mode & 0o7777), wait=wait)

    def chown(self, path: bytes, owner: int, group: int, *, wait: bool) -> None:
        change = Change(owner=_given(owner), group=_given(group))
        if change != Change():
            self._change(path, change, wait=wait)

    def truncate(self, path: bytes, size: int, *, wait: bool) -> None:
        self._change(path, Change(size=size), wait=wait)

    def ftruncate(self, number: int, size: int, *, wait: bool) -> None:
        handed = self._handles[number]
        change = Change(size=size)
        self.filesystem.setattr(handed.place.inode, handed.handle, change, wait=wait)

    def utimens(self, path: bytes, modified_ns: int, *, wait: bool) -> None:
        self._change(path, Change(modified_ns=modified_ns), wait=wait)

    def open(self, path: bytes, flags: int, *, wait: bool) -> Backed | Answer:
        hidden = self._hidden_at(path)
        place = self.places.share(hidden) if hidden else self.places.keep(path, wait=wait)
        try:
            opened = self.filesystem.open(
                place.inode,
                _access(flags),
                truncate=bool(flags & os.O_TRUNC),
                append=bool(flags & os.O_APPEND),
                wait=wait,
            )
        except BaseException:
            self.places.let_go(place)
            raise
        answer = self._handed(opened, place, path)
        return answer if opened.backing_fd is None else Backed(answer, opened.backing_fd)

    def create(self, path: bytes, flags: int, mode: int, *, wait: bool) -> Answer:
        exclusive = bool(flags & os.O_EXCL)
        return self._created(path, mode, _access(flags), exclusive=exclusive, wait=wait)

    def read(self, number: int, size: int, offset: int, *, wait: bool) -> bytes:
        return bytes(self.filesystem.read(self._handles[number].handle, offset, size, wait=wait))

    def write(self, number: int, data: bytes, offset: int, *, wait: bool) -> int:
        handle = self._handles[number].handle
        with memoryview(data) as view:
            return self.filesystem.write(handle, offset, view, wait=wait)

    def flush(self, number: int, *, wait: bool) -> None:
        self.filesystem.flush(self._handles[number].handle, wait=wait)

    def fsync(self, number: int, *, wait: bool) -> None:
        self.filesystem.fsync(self._handles[number].handle, wait=wait)

    def release(self, number: int, *, wait: bool) -> None:
        del wait
        with self._lock:
            handed = self._handles.pop(number)
        self.pages.closed(handed.path, handed.place.inode)
        self.filesystem.release(handed.handle)
        self.places.let_go(handed.place)

    def statfs(self, *, wait: bool) -> tuple[int, int, int, int, int]:
        return shown.space(self.filesystem.statfs(wait=wait))

    def _created(
        self, path: bytes, mode: int, access: Access, *, exclusive: bool, wait: bool
    ) -> Answer:
        folder, name = split(path)
        with self.places.at(folder, wait=wait) as inode:
            entry, opened = self.filesystem.create(
                inode, name, mode & 0o7777, access, exclusive=exclusive, wait=wait
            )
        return self._handed(opened, self.places.keep_new(path, entry), path)

    def _handed(self, opened: Opened, place: Place, path: bytes) -> Answer:
        with self._lock:
            self._handles[opened.handle] = Handed(opened.handle, place, path)
        return opened.handle, *self.pages.opened(path, place.inode, opened)

    def _hide(self, path: bytes, hidden_name: bytes, *, wait: bool) -> None:
        """What libfuse does to remove an open file: it lives on without a name."""
        folder, name = split(path)
        place = self.places.keep(path, wait=wait)
        try:
            with self.places.at(folder, wait=wait) as inode:
                self.filesystem.unlink(inode, name, wait=wait)
        except BaseException:
            self.places.let_go(place)
            raise
        with self._lock:
            self._hidden[hidden_name] = Hidden(place, folder)
        self.places.drop(path)
        self.pages.moved()

    def _hidden_at(self, path: bytes) -> Place | None:
        """The removed file that libfuse means by a path; no such file is not there at all."""
        name = split(path)[1]
        if not HIDDEN.fullmatch(name):
            return None
        with self._lock:
            hidden = self._hidden.get(name)
        if hidden is None:
            raise FileNotFoundError
        return hidden.place

    def _change(self, path: bytes, change: Change, *, wait: bool) -> None:
        hidden = self._hidden_at(path)
        if hidden is not None:
            self.filesystem.setattr(hidden.inode, None, change, wait=wait)
            return
        with self.places.at(path, wait=wait) as inode:
            self.filesystem.setattr(inode, None, change, wait=wait)


def _access(flags: int) -> Access:
    mode = flags & os.O_ACCMODE
    if mode == os.O_WRONLY:
        return Access.WRITE
    if mode == os.O_RDWR or flags & os.O_TRUNC:
        return READ_WRITE
    return Access.READ


def _moved(folder: bytes, path: bytes, new_path: bytes) -> bytes:
    if folder == path or folder.startswith(path + b"/"):
        return new_path + folder[len(path) :]
    return folder


def _given(number: int) -> int | None:
    return None if number & UNCHANGED == UNCHANGED else number & UNCHANGED
