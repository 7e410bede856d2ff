"""The folder of a host: its control socket, its lock, its record and its log."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datastores.value import Value


class HostFolder(Value):
    """One host's files; the folder is its owner's alone."""

    path: Path

    @property
    def control(self) -> Path:
        return self.path / "control"

    @property
    def log(self) -> Path:
        return self.path / "log"

    def make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def lock(self, seconds: float = 1.0) -> int | None:
        """The lock that a host keeps while it lives, its workers included; None if one does."""
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + seconds
        # Whoever looks whether a host lives holds it for a moment.
        while not _flocked(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(fd)
                return None
            time.sleep(0.01)
        return fd

    @property
    def is_taken(self) -> bool:
        """Whether a host lives here, answering or not."""
        try:
            fd = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _flocked(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def holders(self) -> list[int]:
        """The processes that keep the lock: a supervisor and its worker."""
        lock = self.path / "lock"
        if not lock.exists():
            return []
        wanted = lock.stat()
        return [pid for pid in _processes() if _has_open(pid, (wanted.st_dev, wanted.st_ino))]

    def write_record(self, record: dict[str, Any]) -> None:
        """What the next one here must know of this host, should it die; no secrets."""
        aside = self.path / ".record"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(record, file)
        aside.replace(self.path / "record.json")

    def read_record(self) -> dict[str, Any] | None:
        """What the last host here wrote; None where nothing can be read."""
        try:
            record = json.loads((self.path / "record.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def listen(self) -> socket.socket:
        """The control socket, which workers inherit; only its owner can connect."""
        self.control.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            with self._short() as path:
                listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(16)
        return listener

    def connect(self, seconds: float) -> socket.socket:
        """A connection to the host; `OSError` when nobody listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(seconds)
        try:
            with self._short() as path:
                connection.connect(path)
        except OSError:
            connection.close()
            raise
        return connection

    @contextmanager
    def _short(self) -> Iterator[str]:
        """The socket's path: the kernel takes 107 bytes, folders of jobs are longer."""
        fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{fd}/control"
        finally:
            os.close(fd)


def _flocked(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _has_open(pid: int, file: tuple[int, int]) -> bool:
    if pid == os.getpid():
        return False
    try:
        paths = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # it has ended, or is somebody else's
    return any(_is(path, file) for path in paths)


def _is(path: Path, file: tuple[int, int]) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False  # closed meanwhile, which says nothing of the process's other files
    return (status.st_dev, status.st_ino) == file
