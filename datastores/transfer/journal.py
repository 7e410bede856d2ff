"""Which ranges of a half-done file are in place: a log beside it that survives kill -9.

The first line binds the log to one version of one object, cut in one way; each further line says
that a range was written and which checksum its bytes had. Every line carries its own check, so a
torn tail is dropped. The log is a claim, not a proof: a resumed download reads each claimed range
back from disk and compares before it believes it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict

from datastores.value import Value, field


class Binding(Value):
    """The one object, and the one way of cutting it, that a journal is about."""

    origin: str
    size: int
    version: str
    range_bytes: int
    algorithm: str


class Replay(Value):
    """What a journal still proves; `length` is where its intact part ends."""

    binding: Binding | None = None
    ranges: Mapping[int, int] = field(default_factory=dict)
    length: int = 0


def replay(text: bytes) -> Replay:
    """Everything up to the first line that is torn or damaged."""
    binding: Binding | None = None
    ranges: dict[int, int] = {}
    length = 0
    for line in text.splitlines(keepends=True):
        body = _checked(line)
        if body is None:
            break
        if binding is None:
            binding = _parse_binding(body)
            if binding is None:
                break
        else:
            index, checksum = body.split()
            ranges[int(index)] = int(checksum, 16)
        length += len(line)
    return Replay(binding, ranges, length)


def opening_line(binding: Binding) -> bytes:
    """The line that starts a journal."""
    return _line(json.dumps(asdict(binding)).encode())


def range_line(index: int, checksum: int) -> bytes:
    """The line that says that a range is in place."""
    return _line(b"%d %016x" % (index, checksum))


def load(path: str) -> Replay:
    """What the journal at this path proves; nothing if there is none."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a Path per file costs 4 us
            return replay(file.read())
    except FileNotFoundError:
        return Replay()


class Journal:
    """An open journal; lines are appended whole, so threads may share it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def resume(cls, path: str, known: Replay) -> Journal:
        """Continue after the intact part."""
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(fd, known.length)
        return cls(fd)

    @classmethod
    def begin(cls, path: str, binding: Binding) -> Journal:
        """A new journal in place of whatever was there."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(path, flags, 0o666)
        try:
            os.write(fd, opening_line(binding))
        except BaseException:
            os.close(fd)
            raise
        return cls(fd)

    def note(self, index: int, checksum: int) -> None:
        """Say that a range is in place; call it after the bytes are written, never before."""
        os.write(self._fd, range_line(index, checksum))

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _line(body: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _checked(line: bytes) -> bytes | None:
    check, space, body = line.partition(b" ")
    if not space or not body.endswith(b"\n"):
        return None
    body = body[:-1]
    return body if check == b"%08x" % zlib.crc32(body) else None


def _parse_binding(body: bytes) -> Binding | None:
    try:
        return Binding(**json.loads(body))
    except (ValueError, TypeError):
        return None
