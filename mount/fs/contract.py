"""What an adapter asks of a file system, and what it gets.

Inodes are numbers that stay the same for the life of the mount; 1 is the root. Names are bytes as
the kernel passes them and never hold a slash. Errors are `datastores.errors` and plain `OSError`;
`mount.fs.errno.errno_for` turns both into the number that the kernel is told, and nothing else does.

A method that may have to wait for the network or for the disk takes `wait`. Called with
`wait=False` it either answers at once or raises `WouldWait` without having done anything; the
adapter then calls it again with `wait=True` from a pool thread. So answers that are known cost no
thread switch: metadata is answered on the thread that reads the kernel's requests.

All methods may be called from any thread.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from datastores.value import Value

if TYPE_CHECKING:
    from typing_extensions import Buffer

ROOT_INODE = 1

# Attributes, entries, children and open files are named tuples: some are made for every answer, and
# a frozen dataclass of five fields takes 0.9 us, a named tuple 0.3.


class WouldWait(Exception):  # not an error: an answer that takes longer
    """The answer is not known here yet; ask again from a thread that may wait."""


class Kind(enum.Enum):
    """What an inode is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


class Attributes(NamedTuple):
    """What `stat` shows."""

    inode: int
    kind: Kind
    size: int
    permissions: int
    owner: int
    group: int
    modified_ns: int
    changed_ns: int
    links: int = 1


class Entry(NamedTuple):
    """An inode under a name, and how long the kernel may remember name and attributes.

    Each entry that reaches the kernel counts one lookup, which `forget` takes back.
    `inode` 0 in the attributes says that the name is known not to exist.
    """

    attributes: Attributes
    name_seconds: float
    attribute_seconds: float


class Child(NamedTuple):
    """One line of a folder listing; `cookie` continues after it. `entry` where it is known."""

    name: bytes
    inode: int
    kind: Kind
    cookie: int
    entry: Entry | None = None


class Change(Value):
    """What `setattr` is to change; None leaves a thing as it is."""

    size: int | None = None
    permissions: int | None = None
    owner: int | None = None
    group: int | None = None
    modified_ns: int | None = None


class Access(enum.Flag):
    """What an open file will be used for."""

    READ = enum.auto()
    WRITE = enum.auto()


@dataclass(slots=True, eq=False)
class Backing:
    """The local file of one version, which many opens share and which may stay open for later ones.

    `registered` and `at_end` belong to the adapter that registered the file with its kernel. The
    file system calls `at_end` once, from any thread, when it is about to close the file.
    """

    registered: Any = None
    at_end: Callable[[Backing], None] | None = None
    # Every byte is on the local disk, so that the next open will have a `backing_fd`.
    is_complete: bool = False


class Opened(NamedTuple):
    """An open file.

    `backing_fd` is a complete local file that holds exactly the bytes of this version: an adapter
    that can hands it to the kernel, which then reads without asking again. It is owned by the file
    system and valid until `release`, or until the end of `backing` where there is one. `keep_cache`
    says that what the kernel has cached of this inode is still true; `direct` that it must not
    cache (an inode is cached or backed, never both).
    """

    handle: int
    backing_fd: int | None = None
    keep_cache: bool = False
    direct: bool = False
    backing: Backing | None = None


class OpenedFolder(NamedTuple):
    """An open folder.

    `may_cache` says that the kernel may keep what it lists and show it again: no two listings share
    a cookie, so what it keeps is of one. `keep_cache` says that what it has kept is still true.
    """

    handle: int
    may_cache: bool = False
    keep_cache: bool = False


class Space(Value):
    """What `statfs` shows, in bytes and files."""

    total: int
    free: int
    files: int
    longest_name: int = 255


class Kernel(Protocol):
    """What a file system may tell the kernel by itself; never from a thread that serves it."""

    def forget_data(self, inode: int) -> None:
        """Drop cached pages and attributes of an inode."""

    def forget_name(self, folder: int, name: bytes) -> None:
        """Drop a cached name, existing or not."""


class Errand(Protocol):
    """Bytes on their way for an open, which nobody has to wait for in a thread of his own."""

    def fileno(self) -> int:
        """Readable when it is over, well or not."""

    def finish(self) -> None:
        """Take in what came; to be called once, when it is over or given up."""


class FileSystem(Protocol):
    """The operations of a mount."""

    def start(self, kernel: Kernel) -> None:
        """The mount is there; requests may come from now on."""

    def stop(self) -> None:
        """The mount is gone; flush within a bound, let go of everything."""

    def lookup(self, folder: int, name: bytes, *, wait: bool) -> Entry: ...

    def forget(self, inode: int, lookups: int) -> None:
        """The kernel gives back so many lookups; at zero the inode may be dropped."""

    def getattr(self, inode: int, handle: int | None, *, wait: bool) -> Entry: ...

    def setattr(self, inode: int, handle: int | None, change: Change, *, wait: bool) -> Entry: ...

    def errand(self, inode: int) -> Errand | None:
        """What an open for reading would wait for, begun; None if it has to wait itself.

        When it is over, the open is tried again and may have to wait all the same.
        """

    def readlink(self, inode: int, *, wait: bool) -> bytes: ...

    def opendir(self, inode: int, *, wait: bool) -> OpenedFolder: ...

    def readdir(
        self, handle: int, cookie: int, most: int, *, entries: bool = True, wait: bool
    ) -> Sequence[Child]:
        """Up to `most` children after `cookie` (0 is the start), in a stable order; () at the end.

        Without `entries` the children have none, which takes a fraction of the time. Entries in the
        result count no lookup until the adapter says so with `remember`.
        """

    def remember(self, children: Sequence[Child]) -> None:
        """These children went to the kernel with their entries: one lookup each."""

    def releasedir(self, handle: int) -> None: ...

    def open(
        self, inode: int, access: Access, *, truncate: bool, append: bool, wait: bool
    ) -> Opened: ...

    def create(
        self,
        folder: int,
        name: bytes,
        permissions: int,
        access: Access,
        *,
        exclusive: bool,
        wait: bool,
    ) -> tuple[Entry, Opened]: ...

    def read(self, handle: int, offset: int, size: int, *, wait: bool) -> Buffer:
        """Exactly `size` bytes, fewer only at the end of the file."""

    def write(self, handle: int, offset: int, data: memoryview, *, wait: bool) -> int:
        """How many bytes were taken; the view is valid only during the call."""

    def flush(self, handle: int, *, wait: bool) -> None:
        """A descriptor was closed: what was written is durable in the store, or this raises."""

    def fsync(self, handle: int, *, wait: bool) -> None: ...

    def release(self, handle: int) -> None:
        """The last descriptor is gone; errors have nowhere to go any more."""

    def unlink(self, folder: int, name: bytes, *, wait: bool) -> None: ...

    def mkdir(self, folder: int, name: bytes, permissions: int, *, wait: bool) -> Entry: ...

    def rmdir(self, folder: int, name: bytes, *, wait: bool) -> None: ...

    def symlink(self, folder: int, name: bytes, target: bytes, *, wait: bool) -> Entry: ...

    def rename(
        self,
        folder: int,
        name: bytes,
        new_folder: int,
        new_name: bytes,
        *,
        replace: bool,
        wait: bool,
    ) -> None: ...

    def statfs(self, *, wait: bool) -> Space: ...
