"""A kernel in miniature: paths and descriptors over a file system's contract."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

from mount.fs.contract import (
    ROOT_INODE,
    Access,
    Attributes,
    Change,
    Child,
    Entry,
    FileSystem,
    Kind,
    Opened,
    WouldWait,
)

T = TypeVar("T")
READ, WRITE, BOTH = Access.READ, Access.WRITE, Access.READ | Access.WRITE


@dataclass(slots=True)
class OpenFile:
    """One descriptor; `backed` reads are answered from the backing file, as a kernel does."""

    kernel: KernelInMiniature
    inode: int
    opened: Opened
    access: Access
    backed: bool = False
    is_open: bool = True

    def read(self, size: int = 1 << 40, offset: int = 0) -> bytes:
        if self.backed and self.opened.backing_fd is not None:
            return os.pread(self.opened.backing_fd, min(size, 1 << 30), offset)
        pieces: list[bytes] = []
        while size:
            ask = min(size, 1 << 20)
            piece = self._piece(offset, ask)
            pieces.append(piece)
            size -= len(piece)
            offset += len(piece)
            if len(piece) < ask:
                break
        return b"".join(pieces)

    def write(self, data: bytes, offset: int = 0) -> None:
        for at in range(0, len(data), 1 << 20):
            self._put(offset + at, memoryview(data)[at : at + (1 << 20)])

    def _piece(self, at: int, size: int) -> bytes:
        kernel, handle = self.kernel, self.opened.handle
        return bytes(kernel.asking(lambda wait: kernel.fs.read(handle, at, size, wait=wait)))

    def _put(self, at: int, piece: memoryview) -> None:
        kernel, handle = self.kernel, self.opened.handle
        taken = kernel.asking(lambda wait: kernel.fs.write(handle, at, piece, wait=wait))
        assert taken == len(piece)

    def truncate(self, size: int) -> None:
        self.kernel.asking(
            lambda wait: self.kernel.fs.setattr(
                self.inode, self.opened.handle, Change(size=size), wait=wait
            )
        )

    def fsync(self) -> None:
        self.kernel.asking(lambda wait: self.kernel.fs.fsync(self.opened.handle, wait=wait))

    def flush(self) -> None:
        self.kernel.asking(lambda wait: self.kernel.fs.flush(self.opened.handle, wait=wait))

    def close(self) -> None:
        """What close(2) does: flush, whose error it reports, and release."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            self.flush()
        finally:
            self.kernel.give_back(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KernelInMiniature:
    """Asks a file system what a kernel would for a program's calls.

    Nothing is remembered between calls except lookups, which `forget_all` gives back: every call
    shows what the file system itself knows.
    """

    # Whether the call at hand was made before, and died with the one who should have answered.
    is_resent = False

    def __init__(self, fs: FileSystem) -> None:
        self.fs = fs
        self.lookups: Counter[int] = Counter()
        self.files: set[int] = set()
        self.forgotten_data: list[int] = []
        self.forgotten_names: list[tuple[int, bytes]] = []
        self.waits = 0

    def forget_data(self, inode: int) -> None:
        self.forgotten_data.append(inode)

    def forget_name(self, folder: int, name: bytes) -> None:
        self.forgotten_names.append((folder, name))

    def asking(self, call: Callable[[bool], T]) -> T:
        """First without waiting, then as a pool thread would."""
        try:
            return call(False)
        except WouldWait:
            self.waits += 1
            return call(True)

    def give_back(self, file: OpenFile) -> None:
        """The last close of a descriptor."""
        self.fs.release(file.opened.handle)
        self.files.discard(id(file))

    def look(self, path: str) -> Attributes:
        """Walk to a path; its attributes."""
        inode = ROOT_INODE
        attributes = self.asking(
            lambda wait: self.fs.getattr(ROOT_INODE, None, wait=wait)
        ).attributes
        for name in path.split("/") if path else []:
            entry = self._lookup(inode, name)
            if entry.attributes.inode == 0:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            attributes = entry.attributes
            inode = attributes.inode
        return attributes

    def exists(self, path: str) -> bool:
        try:
            self.look(path)
        except FileNotFoundError:
            return False
        return True

    def stat(self, path: str) -> Attributes:
        inode = self.look(path).inode
        return self.asking(lambda wait: self.fs.getattr(inode, None, wait=wait)).attributes

    def open(
        self,
        path: str,
        access: Access = READ,
        *,
        create: bool = False,
        exclusive: bool = False,
        truncate: bool = False,
        append: bool = False,
        backed: bool = False,
        permissions: int = 0o644,
    ) -> OpenFile:
        folder, name = self._split(path)
        if create:
            entry = self._lookup(folder, name)
            if entry.attributes.inode and exclusive:
                raise FileExistsError(errno.EEXIST, "it is there", path)
            if not entry.attributes.inode:
                made, opened = self.asking(
                    lambda wait: self.fs.create(
                        folder,
                        os.fsencode(name),
                        permissions,
                        access,
                        exclusive=exclusive and not self.is_resent,
                        wait=wait,
                    )
                )
                self.lookups[made.attributes.inode] += 1
                return self._opened(made.attributes.inode, opened, access, backed=backed)
        inode = self.look(path).inode
        opened = self.asking(
            lambda wait: self.fs.open(inode, access, truncate=truncate, append=append, wait=wait)
        )
        return self._opened(inode, opened, access, backed=backed)

    def read(self, path: str, *, backed: bool = False) -> bytes:
        with self.open(path, backed=backed) as file:
            return file.read()

    def write(self, path: str, data: bytes) -> None:
        with self.open(path, WRITE, create=True, truncate=True) as file:
            file.write(data)

    def append(self, path: str, data: bytes) -> None:
        with self.open(path, WRITE, create=True, append=True) as file:
            file.write(data, self.stat(path).size)

    def truncate(self, path: str, size: int) -> None:
        self.change(path, Change(size=size))

    def change(self, path: str, change: Change) -> Attributes:
        inode = self.look(path).inode
        return self.asking(lambda wait: self.fs.setattr(inode, None, change, wait=wait)).attributes

    def unlink(self, path: str) -> None:
        folder, name = self._split(path)
        self.look(path)
        self.asking(lambda wait: self.fs.unlink(folder, os.fsencode(name), wait=wait))

    def mkdir(self, path: str) -> None:
        folder, name = self._split(path)
        made = self.asking(lambda wait: self.fs.mkdir(folder, os.fsencode(name), 0o755, wait=wait))
        self.lookups[made.attributes.inode] += 1

    def rmdir(self, path: str) -> None:
        folder, name = self._split(path)
        self.look(path)
        self.asking(lambda wait: self.fs.rmdir(folder, os.fsencode(name), wait=wait))

    def rename(self, path: str, new_path: str, *, replace: bool = True) -> None:
        folder, name = self._split(path)
        new_folder, new_name = self._split(new_path)
        self.look(path)
        self.asking(
            lambda wait: self.fs.rename(
                folder,
                os.fsencode(name),
                new_folder,
                os.fsencode(new_name),
                replace=replace,
                wait=wait,
            )
        )

    def symlink(self, target: str, path: str) -> None:
        folder, name = self._split(path)
        made = self.asking(
            lambda wait: self.fs.symlink(folder, os.fsencode(name), os.fsencode(target), wait=wait)
        )
        self.lookups[made.attributes.inode] += 1

    def readlink(self, path: str) -> str:
        inode = self.look(path).inode
        return os.fsdecode(self.asking(lambda wait: self.fs.readlink(inode, wait=wait)))

    def list(self, path: str = "", *, most: int = 100) -> list[str]:
        return [os.fsdecode(child.name) for child in self.children(path, most=most)]

    def children(self, path: str = "", *, most: int = 100) -> Iterator[Child]:
        """A listing as READDIRPLUS takes it: each entry counts a lookup."""
        with self.folder(path) as handle:
            cookie = 0
            while True:
                some = self.page(handle, cookie, most)
                counted = [child for child in some if child.entry]
                self.fs.remember(counted)
                self.lookups.update(child.inode for child in counted)
                if not some:
                    return
                yield from some
                cookie = some[-1].cookie

    @contextmanager
    def folder(self, path: str) -> Iterator[int]:
        inode = self.look(path).inode
        opened = self.asking(lambda wait: self.fs.opendir(inode, wait=wait))
        try:
            yield opened.handle
        finally:
            self.fs.releasedir(opened.handle)

    def page(self, handle: int, cookie: int, most: int) -> Sequence[Child]:
        return self.asking(lambda wait: self.fs.readdir(handle, cookie, most, wait=wait))

    def walk(self, path: str = "") -> Iterator[str]:
        """Every path below, folders with a slash at the end."""
        for child in list(self.children(path)):
            below = f"{path}/{os.fsdecode(child.name)}".lstrip("/")
            if child.kind is Kind.FOLDER:
                yield below + "/"
                yield from self.walk(below)
            else:
                yield below

    def forget_all(self) -> None:
        for inode, count in self.lookups.items():
            self.fs.forget(inode, count)
        self.lookups.clear()

    def _lookup(self, folder: int, name: str) -> Entry:
        entry = self.asking(lambda wait: self.fs.lookup(folder, os.fsencode(name), wait=wait))
        if entry.attributes.inode:
            self.lookups[entry.attributes.inode] += 1
        return entry

    def _split(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return self.look(folder).inode, name

    def _opened(self, inode: int, opened: Opened, access: Access, *, backed: bool) -> OpenFile:
        file = OpenFile(self, inode, opened, access, backed)
        self.files.add(id(file))
        return file
