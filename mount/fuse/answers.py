"""Answers as the bytes that the kernel reads. Pure."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence

from datastores.value import Value
from mount.fs.contract import Attributes, Child, Entry, Kind, Space
from mount.fuse import layouts

MODES = {Kind.FILE: stat.S_IFREG, Kind.FOLDER: stat.S_IFDIR, Kind.LINK: stat.S_IFLNK}
TYPES = {kind: mode >> 12 for kind, mode in MODES.items()}
# Looked up in a dictionary, an enumeration's member is hashed by 0.3 us of Python.
REGULAR, REGULAR_TYPE = MODES[Kind.FILE], TYPES[Kind.FILE]
BLOCK = 4096
# What READDIR says where an inode is not known yet; 0 would hide the name from some programs.
UNKNOWN_INODE = 0xFFFFFFFF
LONGEST_SECONDS = 1 << 30
SECOND = 1_000_000_000
DOTS = (b".", b"..")
DOTTED = len(DOTS)
# Bytes of a line without its name.
LINE = layouts.DIRENT.size
LINE_WITH_ENTRY = layouts.DIRENT_PLUS.size
NO_ENTRY = bytes(layouts.ENTRY_OUT.size)
PADDING = [bytes(-length % 8) for length in range(8)]


class Answers(Value):
    """Packs what a file system said; `node_for` names the kernel's node of an inode."""

    umask: int
    node_for: Callable[[int], int]

    def entry(self, entry: Entry) -> bytes:
        """A name and its attributes."""
        return layouts.ENTRY_OUT.pack(*self._entry(entry))

    def attributes(self, entry: Entry) -> bytes:
        """Attributes alone."""
        seconds, ns = _moment(entry.attribute_seconds)
        return layouts.ATTR_OUT.pack(seconds, ns, 0, *self._stat(entry.attributes))

    def folder(self, children: Sequence[Child], most_bytes: int) -> bytes:
        """As many names as fit."""
        lines: list[bytes] = []
        add, pack = lines.append, layouts.DIRENT.pack
        room = most_bytes
        for name, inode, kind, cookie, _ in children:
            length = len(name)
            room -= LINE + (length + 7 & ~7)
            if room < 0:
                break
            type_ = REGULAR_TYPE if kind is Kind.FILE else TYPES[kind]
            add(pack(inode or UNKNOWN_INODE, cookie + DOTTED, length, type_))
            add(name)
            add(PADDING[length & 7])
        return b"".join(lines)

    def folder_with_entries(
        self, children: Sequence[Child], most_bytes: int
    ) -> tuple[bytes, list[Child]]:
        """As many names with their attributes as fit, and those that count a lookup."""
        lines: list[bytes] = []
        counted: list[Child] = []
        room = most_bytes
        for child in children:
            name, inode, kind, cookie, entry = child
            length = len(name)
            room -= LINE_WITH_ENTRY + (length + 7 & ~7)
            if room < 0:
                break
            type_ = REGULAR_TYPE if kind is Kind.FILE else TYPES[kind]
            line = inode or UNKNOWN_INODE, cookie + DOTTED, length, type_
            if entry is None or name in DOTS:
                lines.append(NO_ENTRY + layouts.DIRENT.pack(*line))
            else:
                lines.append(layouts.DIRENT_PLUS.pack(*self._entry(entry), *line))
                counted.append(child)
            lines.append(name)
            lines.append(PADDING[length & 7])
        return b"".join(lines), counted

    def _entry(self, entry: Entry) -> tuple[int, ...]:
        attributes, name_lifetime, lifetime = entry
        name_seconds, name_ns = seconds, ns = _moment(lifetime)
        if name_lifetime != lifetime:
            name_seconds, name_ns = _moment(name_lifetime)
        node = self.node_for(attributes[0])
        return node, 0, name_seconds, seconds, name_ns, ns, *self._stat(attributes)

    def _stat(self, attributes: Attributes) -> tuple[int, ...]:
        inode, kind, size, permissions, owner, group, modified_ns, changed_ns, links = attributes
        modified, modified_rest = divmod(modified_ns, SECOND)
        # The kernel takes seconds before 1970 as the same 64 bits.
        modified &= 0xFFFFFFFFFFFFFFFF
        changed, changed_rest = modified, modified_rest
        if changed_ns != modified_ns:
            changed, changed_rest = divmod(changed_ns, SECOND)
            changed &= 0xFFFFFFFFFFFFFFFF
        mode = REGULAR if kind is Kind.FILE else MODES[kind]
        return (
            inode,
            size,
            (size + 511) >> 9,
            modified,
            modified,
            changed,
            modified_rest,
            modified_rest,
            changed_rest,
            mode | permissions & 0o7777 & ~self.umask,
            links,
            owner,
            group,
            0,
            BLOCK,
            0,
        )


def dots(inode: int) -> list[Child]:
    """The two names that every folder has; their cookies come before those of all children."""
    return [
        Child(name, number, Kind.FOLDER, at - len(DOTS))
        for at, (name, number) in enumerate(zip(DOTS, (inode, UNKNOWN_INODE), strict=True), 1)
    ]


def space(known: Space) -> bytes:
    """What `statfs` shows."""
    total, free = known.total // BLOCK, known.free // BLOCK
    # Nobody knows how many more files a store could hold; programs that ask want "many".
    return layouts.STATFS_OUT.pack(
        total, free, free, known.files + (1 << 31), 1 << 31, BLOCK, known.longest_name, BLOCK, 0
    )


def lookups_in(listing: bytes) -> dict[int, int]:
    """How many lookups a listing with entries counts, per node."""
    counts: dict[int, int] = {}
    at = 0
    while at < len(listing):
        (node,) = layouts.HANDLE_IN.unpack_from(listing, at)
        if node:
            counts[node] = counts.get(node, 0) + 1
        at += layouts.ENTRY_OUT.size
        length = layouts.DIRENT.unpack_from(listing, at)[2]
        at += -(-(layouts.DIRENT_AT + length) // 8) * 8
    return counts


def _moment(seconds: float) -> tuple[int, int]:
    if seconds >= LONGEST_SECONDS:
        return LONGEST_SECONDS, 0
    whole = int(seconds)
    return whole, int((seconds - whole) * SECOND)
