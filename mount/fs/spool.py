"""Bytes that are on their way to the store, on the local disk until they are there."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from datastores.value import Value

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger(__name__)

PIECE_BYTES = 1024 * 1024
_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02


class Note(Value):
    """Where a spooled file belongs, written before its upload begins.

    `borrowed` ranges are those of the base version; `staged` blocks (id, start, end) were sent and
    are no longer on the disk.
    """

    store: str
    key: str
    size: int
    base_version: str | None = None
    exclusive: bool = False
    modified_ns: int | None = None
    borrowed: Sequence[Sequence[int]] = ()
    staged: Sequence[tuple[str, int, int]] = ()


class SpoolFile:
    """One file on its way; locked while a living process has it."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def note_path(self) -> Path:
        return self.path.with_suffix(".note")

    @property
    def disk_bytes(self) -> int:
        return os.fstat(self.fd).st_blocks * 512

    def describe(self, note: Note) -> None:
        """Say where the bytes belong, so that they can be sent after a crash."""
        text = json.dumps({name: getattr(note, name) for name in note.__struct_fields__}).encode()
        aside = self.path.with_suffix(".note-new")
        try:
            aside.write_bytes(text)
            # An older note stays good until this one is whole.
            aside.rename(self.note_path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise

    def settle(self) -> None:
        """The bytes reached the store: nothing is left to recover."""
        self.note_path.unlink(missing_ok=True)

    def harden(self) -> None:
        """Bytes and note survive a loss of power, too."""
        os.fsync(self.fd)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def punch(self, start: int, end: int) -> None:
        """Give a range's disk space back; it reads as zeros."""
        libc = ctypes.CDLL(None, use_errno=True)
        offset, length = ctypes.c_int64(start), ctypes.c_int64(end - start)
        if libc.fallocate(self.fd, _KEEP_SIZE_AND_PUNCH_HOLE, offset, length) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self.path))

    def leave(self) -> None:
        """Close it; the bytes stay for `recover`."""
        os.close(self.fd)

    def discard(self) -> None:
        """Close it and remove it."""
        self.note_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        os.close(self.fd)


class Spool:
    """A folder of files on their way; any number of mounts may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path) -> Spool:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(folder)

    def begin(self) -> SpoolFile:
        path = self.folder / f"{uuid.uuid4().hex}.data"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return SpoolFile(path, fd)

    def abandoned(self) -> Iterator[tuple[SpoolFile, Note | None]]:
        """Files whose process is gone, and where they belong; without a note nobody closed them.

        Each is locked while it is handed out and closed afterwards.
        """
        for path in sorted(self.folder.glob("*.data")):
            file = _locked(path)
            if file is None:
                continue
            try:
                yield file, _noted(file)
            finally:
                with contextlib.suppress(OSError):  # whoever had it may have discarded it
                    file.leave()


class SpoolBody(Sequence["Buffer"]):
    """A spooled file as pieces that can be sent again without being in memory."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size

    def __len__(self) -> int:
        return (self._size + PIECE_BYTES - 1) // PIECE_BYTES

    @overload
    def __getitem__(self, index: int) -> Buffer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Buffer]: ...
    def __getitem__(self, index: int | slice) -> Buffer | Sequence[Buffer]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        start = range(len(self))[index] * PIECE_BYTES
        return read_padded(self._fd, start, min(start + PIECE_BYTES, self._size))


def read_padded(fd: int, start: int, end: int) -> bytes:
    """The range's bytes; zeros where the file was cut meanwhile."""
    data = os.pread(fd, end - start, start)
    while len(data) < end - start:
        more = os.pread(fd, end - start - len(data), start + len(data))
        if not more:
            return data.ljust(end - start, b"\0")
        data += more
    return data


def _locked(path: Path) -> SpoolFile | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return SpoolFile(path, fd)


def _noted(file: SpoolFile) -> Note | None:
    try:
        text = file.note_path.read_text("utf-8")
    except FileNotFoundError:
        return None
    try:
        return Note(**json.loads(text))
    except (ValueError, TypeError) as error:
        # Torn: its upload had not begun, so close had not returned.
        log.warning("note %s cannot be read and is left out: %s", file.note_path, error)
        return None
