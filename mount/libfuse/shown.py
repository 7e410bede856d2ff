"""What libfuse is told of a file: the numbers of `stat` and `statfs`. Pure.

fuse-python takes times as whole seconds and none before 1970; both are cut down to what it takes.
"""

from __future__ import annotations

import stat

from mount.fs.contract import Attributes, Child, Kind, Space

MODES = {Kind.FILE: stat.S_IFREG, Kind.FOLDER: stat.S_IFDIR, Kind.LINK: stat.S_IFLNK}
BLOCK = 4096
SECOND = 1_000_000_000
# A listing must name an inode even where it is not known yet.
UNKNOWN_INODE = 0xFFFFFFFF
# The two names that every folder has; their cookies come before those of all children.
DOTS = (b".", b"..")
# Inode, mode, links, owner, group, size, modified, changed.
Status = tuple[int, int, int, int, int, int, int, int]
# Name, inode, mode, cookie.
Line = tuple[bytes, int, int, int]


def status(attributes: Attributes, umask: int) -> Status:
    """What `stat` shows."""
    return (
        attributes.inode,
        MODES[attributes.kind] | attributes.permissions & 0o7777 & ~umask,
        attributes.links,
        attributes.owner,
        attributes.group,
        attributes.size,
        max(0, attributes.modified_ns // SECOND),
        max(0, attributes.changed_ns // SECOND),
    )


def line(child: Child) -> Line:
    """One line of a listing."""
    return (
        child.name,
        child.inode or UNKNOWN_INODE,
        MODES[child.kind],
        child.cookie + len(DOTS),
    )


def dots(inode: int, cookie: int) -> list[Line]:
    """Those of the two names that come after a cookie."""
    both = [
        (name, number, stat.S_IFDIR, at)
        for at, (name, number) in enumerate(zip(DOTS, (inode, UNKNOWN_INODE), strict=True), 1)
    ]
    return both[cookie:]


def space(known: Space) -> tuple[int, int, int, int, int]:
    """Blocks, free blocks, files, free files, longest name."""
    # Nobody knows how many more files a store could hold; programs that ask want "many".
    return (
        known.total // BLOCK,
        known.free // BLOCK,
        known.files + (1 << 31),
        1 << 31,
        known.longest_name,
    )
