"""A draft that another process can go on with: each change is noted before it is acknowledged."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mount.fs.block_plan import Piece
from mount.fs.chronicle import Chronicle
from mount.fs.contents import Content
from mount.fs.draft import Draft
from mount.fs.extents import Extents
from mount.fs.spool import SpoolFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

# So many changes, or as many as there are ranges, and all is noted anew.
_NOTES_AT_MOST = 256


class NotedSpoolFile(SpoolFile):
    """Tells its draft before bytes go, and when all of it goes."""

    def __init__(self, path: Path, fd: int) -> None:
        super().__init__(path, fd)
        self.before_punch: Callable[[int, int], None] = lambda _start, _end: None
        self.when_gone: Callable[[], None] = lambda: None

    @override
    def punch(self, start: int, end: int) -> None:
        self.before_punch(start, end)
        super().punch(start, end)

    @override
    def leave(self) -> None:
        super().leave()
        self.when_gone()

    @override
    def discard(self) -> None:
        super().discard()
        self.when_gone()


class NotedDraft(Draft):
    """A draft with a place in the chronicle."""

    def __init__(
        self,
        file: NotedSpoolFile,
        base: Content | None,
        chronicle: Chronicle,
        key: int,
        inode: int,
        *,
        exclusive: bool = False,
    ) -> None:
        super().__init__(file, base, exclusive=exclusive)
        self._chronicle = chronicle
        self._key = key
        self._inode = inode
        self._notes = 0  # under the lock
        file.before_punch = self._note_punch
        file.when_gone = lambda: chronicle.drop(key)

    def note_all(self) -> None:
        """Everything about it, in place of what was noted before."""
        with self.lock:
            base = self.base
            self._notes = 0
            self._chronicle.put(
                self._key,
                (
                    self._inode,
                    self.file.path.name,
                    (base.key, base.version, base.size) if base else None,
                    self.exclusive,
                    self.base_end,
                    self.size,
                    list(self.have),
                    list(self.dirty),
                    self.generation,
                    self.sent_generation,
                    self.modified_ns,
                    # What is still on the disk is sent again instead.
                    [(one.start, one.end, one.id) for one in self._gone_pieces()],
                    self.sent_key,
                    list(self.punched),
                ),
            )

    def take(self, noted: Sequence[Any]) -> None:
        """Become what was noted; the base is given."""
        (_, _, _, _, self.base_end, self.size, have, dirty, *rest) = noted
        self.generation, self.sent_generation, self.modified_ns, sent, self.sent_key, punched = rest
        self.have, self.dirty, self.punched = Extents(*have), Extents(*dirty), Extents(*punched)
        self.sent = {start: Piece(start, end, name) for start, end, name in sent}

    def take_change(self, noted: Sequence[Any]) -> None:
        """Do again to the draft, not to its file, what was noted as done."""
        deed, modified_ns, *facts = noted
        match deed:
            case "write":
                start, end = facts
                self._changed(start, end)
                self.size = max(self.size, end)
            case "cut":
                self._cut_again(*facts)
            case "touch":
                self.generation += 1
            case "fill":
                for start, end in self._gaps(facts[0], min(facts[1], self.size)):
                    self.have.add(start, end)
            case "punch":
                start, end, name, self.sent_key = facts
                self.punched.add(start, end)
                self.sent[start] = Piece(start, end, name)
            case "store":
                generation, key, version, size = facts
                super().stored(generation, Content(key, version, size))
        self.modified_ns = modified_ns

    @override
    def touch(self) -> None:
        with self.lock:
            super().touch()
            self._note("touch")

    @override
    def write(self, start: int, data: memoryview) -> int:
        with self.lock:
            taken = super().write(start, data)
            self._note("write", start, start + taken)
            return taken

    @override
    def truncate(self, size: int) -> None:
        with self.lock:
            before = self.generation
            super().truncate(size)
            if self.generation != before:
                self._note("cut", size)

    @override
    def fill(self, start: int, end: int, fetch: Callable[[Content, int, int], Buffer]) -> None:
        with self.lock:
            is_whole = not self._gaps(start, min(end, self.size))
        if is_whole:
            return
        super().fill(start, end, fetch)
        with self.lock:
            self._note("fill", start, end)

    @override
    def stored(self, generation: int, base: Content) -> None:
        with self.lock:
            super().stored(generation, base)
            self._note("store", generation, base.key, base.version, base.size)

    def _note_punch(self, start: int, end: int) -> None:
        with self.lock:
            self._note("punch", start, end, self.sent[start].id, self.sent_key)

    def _note(self, deed: str, *facts: Any) -> None:
        self._notes += 1
        if self._notes > _NOTES_AT_MOST and self._notes > len(list(self.have)):
            self.note_all()
            if deed != "punch":
                return
        self._chronicle.add(self._key, (deed, self.modified_ns, *facts))

    def _gone_pieces(self) -> list[Piece]:
        return [one for one in self.sent.values() if self.punched.touches(one.start, one.end)]

    def _cut_again(self, size: int) -> None:
        self.punched.remove(size, self.size)
        low, high = min(size, self.size), max(size, self.size)
        self.base_end = min(self.base_end, size)
        self.have.remove(size, high)
        self._changed(low, high, is_here=size > self.size)
        self.dirty.remove(size, high)
        self.size = size


def reopen(path: Path) -> NotedSpoolFile | None:
    """A spool file whose process has died, locked for this one; None if it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    # The lock went with the process that had it.
    fcntl.flock(fd, fcntl.LOCK_EX)
    return NotedSpoolFile(path, fd)
