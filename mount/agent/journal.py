"""What happened in a run, line by line: a log in the run's folder that survives kill -9.

Each line carries its own check, so a torn tail is dropped. A line is written when the thing is
done, never before.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Journal:
    """An open journal; threads may share it."""

    def __init__(self, fd: int, length: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        # Both under the lock.
        self._length = length
        self._is_broken = False

    @classmethod
    def open(cls, path: Path) -> tuple[Journal, list[Mapping[str, Any]]]:
        """The journal, ready to go on after its intact part, and what that says."""
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(os.dup(fd), "rb") as file:
                text = file.read()
            lines, length = replay(text)
            os.ftruncate(fd, length)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, length), lines

    def note(self, event: str, **facts: Any) -> None:
        """Remember that this happened.

        A full disk must not end a run: from then on only a restarted agent would miss something.
        """
        body = json.dumps({"event": event, **facts}, ensure_ascii=True).encode()
        line = b"%08x %b\n" % (zlib.crc32(body), body)
        with self._lock:
            try:
                written = os.write(self._fd, line)
                if written < len(line):
                    # The next attempt says why, or succeeds.
                    written += os.write(self._fd, line[written:])
                self._length += written
            except OSError as error:
                # Half a line would hide those that come after it.
                os.ftruncate(self._fd, self._length)
                self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._is_broken:
            self._is_broken = True
            log.warning(
                "the journal takes no more lines: %s; if the agent is killed now, a resume does "
                "again what is not written down",
                error.strerror,
            )

    def close(self) -> None:
        """Let go of the file; twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def replay(text: bytes) -> tuple[list[Mapping[str, Any]], int]:
    """Everything up to the first line that is torn or damaged, and how long that is."""
    lines: list[Mapping[str, Any]] = []
    length = 0
    for size, line in _intact(text):
        lines.append(line)
        length += size
    return lines, length


def _intact(text: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line in text.splitlines(keepends=True):
        check, _, body = line.partition(b" ")
        if not body.endswith(b"\n") or check != b"%08x" % zlib.crc32(body[:-1]):
            return
        yield len(line), json.loads(body)
