"""One question of the kernel."""

from __future__ import annotations

from dataclasses import dataclass

from mount.fuse import layouts
from mount.fuse.passthrough import INODE_MASK


@dataclass(slots=True)
class Request:
    """A question as it was read; `body` is valid until the answer is given."""

    op: int
    unique: int
    node: int
    pid: int
    body: memoryview

    @property
    def inode(self) -> int:
        return self.node & INODE_MASK

    @property
    def resent(self) -> bool:
        """Handed out before: what it asks for may have been done by a server that then died."""
        return bool(self.unique & layouts.RESENT)

    def names(self, start: int = 0) -> list[bytes]:
        """The NUL-terminated names from a place in the body on."""
        return bytes(self.body[start:]).split(b"\0")[:-1]

    def name(self, start: int = 0) -> bytes:
        """The one name in the body."""
        return bytes(self.body[start:-1])
