"""A POSIX folder as values: what every call answers, without a disk, a kernel or a store."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

MOST_LINKS = 40
FILE_MODE, FOLDER_MODE = 0o644, 0o755


@dataclass(eq=False, slots=True)
class File:
    """Bytes that handles and at most one name lead to."""

    body: bytearray = field(default_factory=bytearray)
    # None where nobody can say: somebody else put the file there.
    mode: int | None = FILE_MODE
    # Set by utimens and not changed by writing since.
    mtime_ns: int | None = None
    # Another client replaced or removed the object: old bytes, or an honest refusal.
    is_replaced: bool = False
    # Handles that may change it, or that brought it into being.
    writers: int = 0


@dataclass(eq=False, slots=True)
class Folder:
    """Names, and what they stand for."""

    children: dict[str, Node] = field(default_factory=dict)
    mode: int = FOLDER_MODE


@dataclass(eq=False, slots=True)
class Link:
    """A path that is followed."""

    target: str


Node = File | Folder | Link


@dataclass(slots=True)
class Handle:
    """An open file."""

    file: File
    flags: int
    is_writer: bool
    # The bytes it was opened on, if nobody was writing: a reader past the daemon keeps to them.
    begun_as: bytes | None = None


@dataclass(frozen=True, slots=True)
class Stat:
    """What is compared of a stat; None where nothing is promised."""

    kind: str
    size: int | None = None
    mode: int | None = None
    mtime_ns: int | None = None


class Model:
    """The world of one example."""

    def __init__(self) -> None:
        self.root = Folder()
        self.handles: dict[int, Handle] = {}

    def open(self, slot: int, path: str, flags: int) -> None:
        if flags & os.O_EXCL and self._find(path)[2] is not None:
            raise _error(errno.EEXIST)
        parent, name, node = self._follow(path, may_be_absent=bool(flags & os.O_CREAT))
        is_writer = node is None or bool(flags & (os.O_WRONLY | os.O_RDWR))
        if node is None:
            if not flags & os.O_CREAT:
                raise _error(errno.ENOENT)
            node = parent.children[name] = File()
        if isinstance(node, Folder):
            raise _error(errno.EISDIR)
        assert isinstance(node, File)
        if flags & os.O_TRUNC and flags & (os.O_WRONLY | os.O_RDWR):
            self._cut(node, 0)
            node.mtime_ns = None
        begun_as = None if is_writer or node.writers else bytes(node.body)
        node.writers += is_writer
        self.handles[slot] = Handle(node, flags, is_writer, begun_as)

    def close(self, slot: int) -> None:
        handle = self.handles.pop(slot)
        handle.file.writers -= handle.is_writer

    def pread(self, slot: int, offset: int, size: int) -> bytes:
        return bytes(self.handles[slot].file.body[offset : offset + size])

    def pwrite(self, slot: int, offset: int, data: bytes) -> int:
        handle = self.handles[slot]
        if handle.flags & os.O_APPEND:  # what Linux does, whatever the offset
            offset = len(handle.file.body)
        return self._put(handle.file, offset, data)

    def ftruncate(self, slot: int, size: int) -> None:
        file = self.handles[slot].file
        self._cut(file, size)
        file.mtime_ns = None

    def fsync(self, slot: int) -> None:
        self.handles[slot]

    def fsize(self, slot: int) -> int:
        return len(self.handles[slot].file.body)

    def truncate(self, path: str, size: int) -> None:
        node = self._existing(path)
        if isinstance(node, Folder):
            raise _error(errno.EISDIR)
        assert isinstance(node, File)
        self._cut(node, size)
        node.mtime_ns = None

    def read(self, path: str) -> bytes:
        node = self._existing(path)
        if isinstance(node, Folder):
            raise _error(errno.EISDIR)
        assert isinstance(node, File)
        return bytes(node.body)

    def write(self, path: str, data: bytes) -> None:
        self.open(-1, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.pwrite(-1, 0, data)
        self.close(-1)

    def append(self, path: str, data: bytes) -> None:
        self.open(-1, path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.pwrite(-1, 0, data)
        self.close(-1)

    def unlink(self, path: str) -> None:
        parent, name, node = self._find(path)
        if node is None:
            raise _error(errno.ENOENT)
        if isinstance(node, Folder):
            raise _error(errno.EISDIR)
        del parent.children[name]

    def mkdir(self, path: str) -> None:
        parent, name, node = self._find(path)
        if node is not None:
            raise _error(errno.EEXIST)
        parent.children[name] = Folder()

    def rmdir(self, path: str) -> None:
        parent, name, node = self._find(path)
        if node is None:
            raise _error(errno.ENOENT)
        if not isinstance(node, Folder):
            raise _error(errno.ENOTDIR)
        if node.children:
            raise _error(errno.ENOTEMPTY)
        del parent.children[name]

    def rename(self, path: str, new_path: str) -> None:
        parent, name, node = self._find(path)
        new_parent, new_name, target = self._find(new_path)
        if node is None:
            raise _error(errno.ENOENT)
        if isinstance(node, Folder) and _is_inside(new_parent, node):
            raise _error(errno.EINVAL)
        if target is node:
            return
        if isinstance(target, Folder) and _is_inside(parent, target):
            raise _error(errno.ENOTEMPTY)
        if isinstance(node, Folder) and target is not None:
            if not isinstance(target, Folder):
                raise _error(errno.ENOTDIR)
            if target.children:
                raise _error(errno.ENOTEMPTY)
        if isinstance(target, Folder) and not isinstance(node, Folder):
            raise _error(errno.EISDIR)
        del parent.children[name]
        new_parent.children[new_name] = node

    def symlink(self, target: str, path: str) -> None:
        parent, name, node = self._find(path)
        if node is not None:
            raise _error(errno.EEXIST)
        parent.children[name] = Link(target)

    def readlink(self, path: str) -> str:
        node = self._there(path)
        if not isinstance(node, Link):
            raise _error(errno.EINVAL)
        return node.target

    def chmod(self, path: str, mode: int) -> None:
        node = self._existing(path)
        assert not isinstance(node, Link)
        node.mode = mode

    def utime(self, path: str, mtime_ns: int) -> None:
        node = self._existing(path)
        if isinstance(node, File):
            node.mtime_ns = mtime_ns

    def listdir(self, path: str) -> list[str]:
        node = self._existing(path)
        if not isinstance(node, Folder):
            raise _error(errno.ENOTDIR)
        return sorted(node.children)

    def lstat(self, path: str) -> Stat:
        node = self._there(path)
        match node:
            case File():
                return Stat("file", len(node.body), node.mode, node.mtime_ns)
            case Folder():
                return Stat("folder", None, node.mode)
            case Link():
                return Stat("link", len(node.target))

    def files(self) -> dict[str, bytes]:
        """Every file's bytes, by path."""
        return {path: bytes(node.body) for path, node in self.walk() if isinstance(node, File)}

    def walk(self) -> list[tuple[str, Node]]:
        """Everything below the root, by path."""
        found: list[tuple[str, Node]] = []
        left: list[tuple[str, Node]] = [("", self.root)]
        while left:
            path, node = left.pop()
            if isinstance(node, Folder):
                left += [(f"{path}/{name}".lstrip("/"), one) for name, one in node.children.items()]
            if path:
                found.append((path, node))
        return sorted(found, key=lambda one: one[0])

    def put_by_another(self, path: str, data: bytes) -> None:
        """Another client puts an object there; folders above it come into being."""
        *above, name = path.split("/")
        parent = self.root
        for one in above:
            child = parent.children.setdefault(one, Folder())
            assert isinstance(child, Folder)
            parent = child
        self._replaced(parent.children.get(name))
        parent.children[name] = File(bytearray(data), mode=None)

    def delete_by_another(self, path: str) -> None:
        parent, name, node = self._find(path)
        self._replaced(node)
        del parent.children[name]

    def _replaced(self, node: Node | None) -> None:
        if isinstance(node, File):
            node.is_replaced = True

    def _put(self, file: File, offset: int, data: bytes) -> int:
        if data:
            file.body.extend(bytes(max(0, offset - len(file.body))))
            file.body[offset : offset + len(data)] = data
            file.mtime_ns = None
        return len(data)

    def _cut(self, file: File, size: int) -> None:
        del file.body[size:]
        file.body.extend(bytes(size - len(file.body)))

    def _there(self, path: str) -> Node:
        _, _, node = self._find(path)
        if node is None:
            raise _error(errno.ENOENT)
        return node

    def _existing(self, path: str) -> Node:
        _, _, node = self._follow(path)
        if node is None:
            raise _error(errno.ENOENT)
        return node

    def _find(self, path: str) -> tuple[Folder, str, Node | None]:
        """Parent, name and node of a path; a link at its end is not followed."""
        return self._walk(self.root, path, follow=False, left=[MOST_LINKS])

    def _follow(self, path: str, *, may_be_absent: bool = False) -> tuple[Folder, str, Node | None]:
        parent, name, node = self._walk(self.root, path, follow=True, left=[MOST_LINKS])
        if node is None and not may_be_absent:
            raise _error(errno.ENOENT)
        return parent, name, node

    def _walk(
        self, start: Folder, path: str, *, follow: bool, left: list[int]
    ) -> tuple[Folder, str, Node | None]:
        parent, name, node = start, "", start  # type: tuple[Folder, str, Node | None]
        steps = [step for step in path.split("/") if step]
        for number, step in enumerate(steps):
            if node is None:
                raise _error(errno.ENOENT)
            if not isinstance(node, Folder):
                raise _error(errno.ENOTDIR)
            parent, name, node = node, step, node.children.get(step)
            is_last = number == len(steps) - 1
            if isinstance(node, Link) and (follow or not is_last):
                if not left[0]:
                    raise _error(errno.ELOOP)
                left[0] -= 1
                parent, name, node = self._walk(parent, node.target, follow=True, left=left)
        return parent, name, node


def _is_inside(folder: Folder, other: Folder) -> bool:
    return folder is other or any(
        isinstance(child, Folder) and _is_inside(folder, child) for child in other.children.values()
    )


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
