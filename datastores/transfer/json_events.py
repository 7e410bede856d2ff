"""Progress for programs: one JSON object per line."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import TextIO

from typing_extensions import override

from datastores.secret import redact
from datastores.transfer.watcher import Silent


class JsonEvents(Silent):
    """Every event as a line: `event`, `time` (ISO, UTC), and what the event is about.

    Bytes are summed and told at most ten times a second, so a fast transfer does not drown its
    reader.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        # Under the lock.
        self._untold = 0
        self._told = 0.0

    @override
    def found(self, files: int, size: int) -> None:
        self._tell("found", files=files, bytes=size)

    @override
    def started(self, name: str) -> None:
        self._tell("started", name=name)

    @override
    def moved(self, name: str, size: int) -> None:
        with self._lock:
            self._untold += size
            now = time.monotonic()
            if now - self._told < 0.1:
                return
            self._told = now
        self._tell_bytes()

    @override
    def finished(self, name: str) -> None:
        self._tell("finished", name=name)

    @override
    def skipped(self, name: str, why: str) -> None:
        self._tell("skipped", name=name, why=why)

    @override
    def failed(self, name: str, error: BaseException) -> None:
        self._tell("failed", name=name, kind=type(error).__name__, error=redact(str(error)))

    @override
    def close(self) -> None:
        self._tell_bytes()
        self._tell("closed")

    def _tell_bytes(self) -> None:
        with self._lock:
            size, self._untold = self._untold, 0
        if size:
            self._tell("moved", bytes=size)

    def _tell(self, event: str, **facts: object) -> None:
        line = json.dumps({"event": event, "time": _now(), **facts})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
