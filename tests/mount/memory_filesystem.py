"""A complete file system in memory: what an adapter is tested with.

It keeps every rule of the contract and notices when an adapter breaks one: lookups that are
forgotten more often than counted, handles that are closed twice, views that outlive their call.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mount.fs.contract import (
    ROOT_INODE,
    Access,
    Attributes,
    Change,
    Child,
    Entry,
    Kernel,
    Kind,
    Opened,
    OpenedFolder,
    Space,
    WouldWait,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

LONGEST_NAME = 255


@dataclass(slots=True)
class Node:
    """A file, folder or link."""

    inode: int
    kind: Kind
    permissions: int
    data: bytearray = field(default_factory=bytearray)
    children: dict[bytes, Node] = field(default_factory=dict)
    target: bytes = b""
    modified_ns: int = field(default_factory=time.time_ns)
    changed_ns: int = field(default_factory=time.time_ns)
    owner: int = field(default_factory=os.getuid)
    group: int = field(default_factory=os.getgid)
    lookups: int = 0
    links: int = 1


@dataclass(slots=True)
class Handle:
    """An open file or folder."""

    node: Node
    access: Access
    append: bool = False
    listing: list[tuple[bytes, Node]] = field(default_factory=list)
    backing_fd: int | None = None


@dataclass(slots=True)
class Behaviour:
    """How the file system answers; tests change it while it runs."""

    name_seconds: float = 60.0
    attribute_seconds: float = 60.0
    negative_seconds: float = 0.0
    keep_cache: bool = False
    direct: bool = False
    # Calls that need `wait=True`; "*" means all that may wait.
    would_wait: set[str] = field(default_factory=set)
    # Called at the start of an operation that is allowed to wait, or of any if it never waits.
    before: Callable[[str], None] | None = None
    raises: dict[str, BaseException] = field(default_factory=dict)
    # A folder for complete copies, which the kernel may read by itself.
    backing: Path | None = None


class MemoryFileSystem:
    """Files and folders in a dictionary."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.calls: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()
        self.broken_rules: list[str] = []
        self.kernel: Kernel | None = None
        self.stopped = threading.Event()
        self._lock = threading.RLock()
        # All under the lock.
        self._inodes = count(ROOT_INODE + 1)
        self._numbers = count(1)
        root = Node(ROOT_INODE, Kind.FOLDER, 0o755, links=2, lookups=1)
        self.nodes: dict[int, Node] = {ROOT_INODE: root}
        self.handles: dict[int, Handle] = {}

    @property
    def root(self) -> Node:
        return self.nodes[ROOT_INODE]

    def add(self, path: str | bytes, data: bytes) -> Node:
        """Put a file there, as another client of the store would; folders appear as needed."""
        *folders, name = (path.encode() if isinstance(path, str) else path).split(b"/")
        with self._lock:
            node = self.root
            for folder in folders:
                node = node.children.get(folder) or self._new(node, folder, Kind.FOLDER, 0o755)
            existing = node.children.get(name)
            child = existing or self._new(node, name, Kind.FILE, 0o644)
            child.data = bytearray(data)
            child.modified_ns = child.changed_ns = time.time_ns()
            return child

    def find(self, path: str) -> Node:
        """The node at a path."""
        node = self.root
        for name in path.encode().split(b"/"):
            node = node.children[name]
        return node

    def skip_handles(self, start: int) -> None:
        """Number further handles from here on: a predecessor gave the ones before."""
        with self._lock:
            self._numbers = count(start + 1)

    def start(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def stop(self) -> None:
        for handle in self.handles.values():
            if handle.backing_fd is not None:
                os.close(handle.backing_fd)
        self.handles.clear()
        self.stopped.set()

    def lookup(self, folder: int, name: bytes, *, wait: bool) -> Entry:
        with self._call("lookup", wait=wait):
            node = self._folder(folder).children.get(_checked(name))
            if node is None:
                if not self.behaviour.negative_seconds:
                    raise _error(errno.ENOENT)
                nothing = Attributes(0, Kind.FILE, 0, 0, 0, 0, 0, 0)
                return Entry(nothing, self.behaviour.negative_seconds, 0)
            node.lookups += 1
            return self._entry(node)

    def forget(self, inode: int, lookups: int) -> None:
        with self._lock:
            self.calls["forget"] += 1
            node = self.nodes.get(inode)
            if node is None or node.lookups < lookups:
                self.broken_rules.append(f"inode {inode} was forgotten more often than looked up")
                return
            node.lookups -= lookups
            self._drop_if_unused(node)

    def getattr(self, inode: int, handle: int | None, *, wait: bool) -> Entry:
        with self._call("getattr", wait=wait):
            return self._entry(self._node(inode))

    def setattr(self, inode: int, handle: int | None, change: Change, *, wait: bool) -> Entry:
        with self._call("setattr", wait=wait):
            node = self._node(inode)
            if change.size is not None:
                _resize(node, change.size)
            if change.permissions is not None:
                node.permissions = change.permissions
            node.owner = node.owner if change.owner is None else change.owner
            node.group = node.group if change.group is None else change.group
            if change.modified_ns is not None:
                node.modified_ns = change.modified_ns
            node.changed_ns = time.time_ns()
            return self._entry(node)

    def readlink(self, inode: int, *, wait: bool) -> bytes:
        with self._call("readlink", wait=wait):
            return self._node(inode).target

    def opendir(self, inode: int, *, wait: bool) -> OpenedFolder:
        with self._call("opendir", wait=wait):
            node = self._folder(inode)
            listing = list(node.children.items())
            return OpenedFolder(self._keep(Handle(node, Access.READ, listing=listing)))

    def readdir(
        self, handle: int, cookie: int, most: int, *, entries: bool = True, wait: bool
    ) -> Sequence[Child]:
        with self._call("readdir", wait=wait):
            opened = self._handle(handle)
            if cookie == 0:
                opened.listing = list(opened.node.children.items())
            end = min(cookie + most, len(opened.listing))
            return [
                Child(name, node.inode, node.kind, at + 1, self._entry(node) if entries else None)
                for at, (name, node) in enumerate(opened.listing[cookie:end], cookie)
            ]

    def remember(self, children: Sequence[Child]) -> None:
        with self._lock:
            self.calls["remember"] += 1
            for child in children:
                # A name that was removed since the listing is known once more all the same.
                node = self.nodes.get(child.inode)
                if node is not None:
                    node.lookups += 1

    def errand(self, inode: int) -> None:
        """Everything is here."""

    def releasedir(self, handle: int) -> None:
        self.release(handle)

    def open(
        self, inode: int, access: Access, *, truncate: bool, append: bool, wait: bool
    ) -> Opened:
        with self._call("open", wait=wait):
            node = self._node(inode)
            if node.kind is Kind.FOLDER:
                raise _error(errno.EISDIR)
            if truncate:
                _resize(node, 0)
            return self._opened(node, access, append=append)

    def create(
        self,
        folder: int,
        name: bytes,
        permissions: int,
        access: Access,
        *,
        exclusive: bool,
        wait: bool,
    ) -> tuple[Entry, Opened]:
        with self._call("create", wait=wait):
            parent = self._folder(folder)
            node = parent.children.get(_checked(name))
            if node is not None and exclusive:
                raise _error(errno.EEXIST)
            node = node or self._new(parent, name, Kind.FILE, permissions)
            node.lookups += 1
            return self._entry(node), self._opened(node, access, append=False)

    def read(self, handle: int, offset: int, size: int, *, wait: bool) -> Buffer:
        with self._call("read", wait=wait):
            opened = self._handle(handle)
            return bytes(memoryview(opened.node.data)[offset : offset + size])

    def write(self, handle: int, offset: int, data: memoryview, *, wait: bool) -> int:
        with self._call("write", wait=wait):
            opened = self._handle(handle)
            if Access.WRITE not in opened.access:
                raise _error(errno.EBADF)
            node = opened.node
            start = len(node.data) if opened.append else offset
            if start > len(node.data):
                _resize(node, start)
            node.data[start : start + len(data)] = data
            node.modified_ns = node.changed_ns = time.time_ns()
            return len(data)

    def flush(self, handle: int, *, wait: bool) -> None:
        with self._call("flush", wait=wait):
            self._handle(handle)

    def fsync(self, handle: int, *, wait: bool) -> None:
        with self._call("fsync", wait=wait):
            self._handle(handle)

    def release(self, handle: int) -> None:
        if self.behaviour.before is not None:
            self.behaviour.before("release")
        with self._lock:
            self.calls["release"] += 1
            opened = self.handles.pop(handle, None)
            if opened is None:
                self.broken_rules.append(f"handle {handle} was released twice")
                return
            if opened.backing_fd is not None:
                os.close(opened.backing_fd)
            self._drop_if_unused(opened.node)

    def unlink(self, folder: int, name: bytes, *, wait: bool) -> None:
        with self._call("unlink", wait=wait):
            node = self._child(folder, name)
            if node.kind is Kind.FOLDER:
                raise _error(errno.EISDIR)
            self._remove(folder, name)

    def mkdir(self, folder: int, name: bytes, permissions: int, *, wait: bool) -> Entry:
        with self._call("mkdir", wait=wait):
            return self._make(folder, name, Kind.FOLDER, permissions)

    def rmdir(self, folder: int, name: bytes, *, wait: bool) -> None:
        with self._call("rmdir", wait=wait):
            node = self._child(folder, name)
            if node.kind is not Kind.FOLDER:
                raise _error(errno.ENOTDIR)
            if node.children:
                raise _error(errno.ENOTEMPTY)
            self._remove(folder, name)

    def symlink(self, folder: int, name: bytes, target: bytes, *, wait: bool) -> Entry:
        with self._call("symlink", wait=wait):
            entry = self._make(folder, name, Kind.LINK, 0o777)
            node = self.nodes[entry.attributes.inode]
            node.target = target
            return self._entry(node)

    def rename(
        self,
        folder: int,
        name: bytes,
        new_folder: int,
        new_name: bytes,
        *,
        replace: bool,
        wait: bool,
    ) -> None:
        with self._call("rename", wait=wait):
            node = self._child(folder, name)
            target = self._folder(new_folder)
            there = target.children.get(_checked(new_name))
            if there is node:
                return
            if there is not None:
                _may_replace(node, there, replace=replace)
                self._remove(new_folder, new_name)
            del self._folder(folder).children[name]
            target.children[new_name] = node
            node.changed_ns = time.time_ns()

    def statfs(self, *, wait: bool) -> Space:
        with self._call("statfs", wait=wait):
            return Space(1 << 40, 1 << 39, len(self.nodes), LONGEST_NAME)

    @contextmanager
    def _call(self, name: str, *, wait: bool) -> Iterator[None]:
        behaviour = self.behaviour
        self.calls[name] += 1
        if not wait and behaviour.would_wait & {name, "*"}:
            raise WouldWait
        if wait:
            self.waited[name] += 1
        if behaviour.before is not None:
            behaviour.before(name)
        if name in behaviour.raises:
            raise behaviour.raises[name]
        with self._lock:
            yield

    def _node(self, inode: int) -> Node:
        node = self.nodes.get(inode)
        if node is None:
            self.broken_rules.append(f"inode {inode} was used after it was forgotten")
            raise _error(errno.ESTALE)
        return node

    def _folder(self, inode: int) -> Node:
        node = self._node(inode)
        if node.kind is not Kind.FOLDER:
            raise _error(errno.ENOTDIR)
        return node

    def _child(self, folder: int, name: bytes) -> Node:
        node = self._folder(folder).children.get(_checked(name))
        if node is None:
            raise _error(errno.ENOENT)
        return node

    def _handle(self, number: int) -> Handle:
        handle = self.handles.get(number)
        if handle is None:
            self.broken_rules.append(f"handle {number} was used after its release")
            raise _error(errno.EBADF)
        return handle

    def _keep(self, handle: Handle) -> int:
        number = next(self._numbers)
        self.handles[number] = handle
        return number

    def _opened(self, node: Node, access: Access, *, append: bool) -> Opened:
        fd = None
        if self.behaviour.backing is not None and access is Access.READ:
            fd = self._backed(self.behaviour.backing, node)
        number = self._keep(Handle(node, access, append=append, backing_fd=fd))
        return Opened(number, fd, self.behaviour.keep_cache, self.behaviour.direct)

    def _backed(self, folder: Path, node: Node) -> int:
        """One local file per version, as a cache has."""
        path = folder / f"{node.inode}-{node.modified_ns}"
        if not path.exists():
            path.write_bytes(node.data)
        return os.open(path, os.O_RDONLY)

    def _new(self, folder: Node, name: bytes, kind: Kind, permissions: int) -> Node:
        node = Node(next(self._inodes), kind, permissions, links=2 if kind is Kind.FOLDER else 1)
        self.nodes[node.inode] = node
        folder.children[name] = node
        folder.modified_ns = folder.changed_ns = time.time_ns()
        return node

    def _make(self, folder: int, name: bytes, kind: Kind, permissions: int) -> Entry:
        parent = self._folder(folder)
        if _checked(name) in parent.children:
            raise _error(errno.EEXIST)
        node = self._new(parent, name, kind, permissions)
        node.lookups += 1
        return self._entry(node)

    def _remove(self, folder: int, name: bytes) -> None:
        parent = self._folder(folder)
        node = parent.children.pop(name)
        node.links = 0
        parent.modified_ns = parent.changed_ns = time.time_ns()
        self._drop_if_unused(node)

    def _drop_if_unused(self, node: Node) -> None:
        is_open = any(handle.node is node for handle in self.handles.values())
        if not node.links and not node.lookups and not is_open:
            self.nodes.pop(node.inode, None)

    def _entry(self, node: Node) -> Entry:
        size = len(node.target) if node.kind is Kind.LINK else len(node.data)
        attributes = Attributes(
            node.inode,
            node.kind,
            size,
            node.permissions,
            node.owner,
            node.group,
            node.modified_ns,
            node.changed_ns,
            node.links,
        )
        return Entry(attributes, self.behaviour.name_seconds, self.behaviour.attribute_seconds)


def _checked(name: bytes) -> bytes:
    if len(name) > LONGEST_NAME:
        raise _error(errno.ENAMETOOLONG)
    return name


def _may_replace(node: Node, there: Node, *, replace: bool) -> None:
    if not replace:
        raise _error(errno.EEXIST)
    if there.kind is Kind.FOLDER:
        if node.kind is not Kind.FOLDER:
            raise _error(errno.EISDIR)
        if there.children:
            raise _error(errno.ENOTEMPTY)
    elif node.kind is Kind.FOLDER:
        raise _error(errno.ENOTDIR)


def _resize(node: Node, size: int) -> None:
    if size < len(node.data):
        del node.data[size:]
    else:
        node.data.extend(bytes(size - len(node.data)))
    node.modified_ns = node.changed_ns = time.time_ns()


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
