"""What is open."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mount.fs.contract import Access, Child
from mount.fs.reading import Pacer
from mount.fs.tree import Tree, refusal

if TYPE_CHECKING:
    from mount.fs.contents import Content
    from mount.fs.facts import Fact
    from mount.fs.inodes import Node

# Python looks an enumeration's member up for 0.14 us each time.
READ = Access.READ


class FileHandle:
    """One open file; the fields after `may_write` are under the file system's lock."""

    __slots__ = (
        "_pacer",
        "access",
        "append",
        "backing",
        "content",
        "is_detached",
        "may_write",
        "node",
        "noted",
        "number",
        "pin",
    )

    def __init__(self, node: Node, access: Access, *, append: bool) -> None:
        self.node = node
        self.access = access
        self.append = append
        # Made when it is read by ranges: most files are not.
        self._pacer: Pacer | None = None
        # Compared once: asking an enumeration of flags takes 0.5 us.
        self.may_write = access is not READ
        # Given by `Handles`, once.
        self.number = 0
        # The version it reads; None while it follows the draft, or until its next read.
        self.content: Content | None = None
        # The version whose file the kernel reads by itself.
        self.backing: Content | None = None
        # The object was changed by somebody else since: it keeps to its version.
        self.is_detached = False
        # What it was opened with in an earlier process, and is not open yet: key and version.
        self.pin: tuple[str, Fact] | None = None
        # What a later process would read of it.
        self.noted: tuple[Any, ...] | None = None

    @property
    def pacer(self) -> Pacer:
        """How it is read; of two that are made at once one is lost, and with it a first step."""
        if self._pacer is None:
            self._pacer = Pacer()
        return self._pacer


class FolderHandle:
    """One open folder; `heard` is the last answer that an earlier process gave to its reader."""

    __slots__ = ("heard", "node")

    def __init__(self, node: Node, heard: Sequence[Child] = ()) -> None:
        self.node = node
        self.heard = heard


class Handles:
    """Open files and folders by number; under the file system's lock."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._numbers = itertools.count(1)
        self._files: dict[int, FileHandle] = {}
        self._folders: dict[int, FolderHandle] = {}

    @property
    def files(self) -> int:
        return len(self._files)

    @property
    def folders(self) -> int:
        return len(self._folders)

    def add_file(self, handle: FileHandle) -> int:
        number = next(self._numbers)
        self._files[number] = handle
        handle.number = number
        handle.node.handles.add(handle)
        handle.node.pins += 1
        return number

    def add_folder(self, handle: FolderHandle) -> int:
        number = next(self._numbers)
        self._folders[number] = handle
        handle.node.pins += 1
        return number

    def restore(self, number: int, handle: FileHandle | FolderHandle) -> None:
        """A handle of an earlier process under its number."""
        if isinstance(handle, FileHandle):
            self._files[number] = handle
            handle.number = number
            handle.node.handles.add(handle)
        else:
            self._folders[number] = handle
        handle.node.pins += 1

    def number_from(self, first: int) -> None:
        """Numbers below this one belong to an earlier process."""
        self._numbers = itertools.count(first)

    def all_files(self) -> list[FileHandle]:
        return list(self._files.values())

    def find(self, number: int) -> FileHandle | None:
        return self._files.get(number)

    def file(self, number: int) -> FileHandle:
        try:
            return self._files[number]
        except KeyError:
            raise refusal(errno.EBADF, str(number)) from None

    def folder(self, number: int) -> FolderHandle:
        try:
            return self._folders[number]
        except KeyError:
            raise refusal(errno.EBADF, str(number)) from None

    def take_file(self, number: int) -> FileHandle | None:
        """Close it; the pin of its node goes to the caller."""
        handle = self._files.pop(number, None)
        if handle:
            handle.node.handles.discard(handle)
        return handle

    def take_folder(self, number: int) -> FolderHandle | None:
        """Close it; the pin of its node goes to the caller."""
        return self._folders.pop(number, None)

    def numbers(self) -> tuple[list[int], list[int]]:
        return list(self._files), list(self._folders)
