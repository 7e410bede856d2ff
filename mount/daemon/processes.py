"""Processes by number and start, and word of their end."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


def name_of(pid: int) -> str | None:
    """A process so that its number, used again, does not mean another; None when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The command's name may hold anything, also brackets and spaces.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{pid}.{fields[19]}"


class Watch:
    """Calls back when a process ends, from one thread; made by `Watch.begin`."""

    def __init__(self, poll: select.epoll, wake: int) -> None:
        self._poll = poll
        self._wake = wake
        self._lock = threading.Lock()
        # Under the lock: by name, and by descriptor.
        self._fds: dict[str, int] = {}
        self._calls: dict[int, tuple[str, Callable[[], None]]] = {}
        self._thread = threading.Thread(target=self._serve, name="process-watch", daemon=True)

    @classmethod
    def begin(cls) -> Watch:
        poll, wake = select.epoll(), os.eventfd(0, os.EFD_CLOEXEC)
        poll.register(wake, select.EPOLLIN)
        watch = cls(poll, wake)
        watch._thread.start()
        return watch

    def add(self, name: str, ended: Callable[[], None]) -> None:
        """Call back once when the process of this name ends; at once when it has ended."""
        fd = self._open(name)
        if fd is None:
            ended()
            return
        with self._lock:
            if name in self._fds:
                os.close(fd)
                return
            self._fds[name] = fd
            self._calls[fd] = (name, ended)
        self._poll.register(fd, select.EPOLLIN)

    def remove(self, name: str) -> None:
        """Nobody wants to know any more."""
        with self._lock:
            fd = self._fds.pop(name, None)
            if fd is not None:
                del self._calls[fd]
                os.close(fd)

    def close(self) -> None:
        os.eventfd_write(self._wake, 1)
        self._thread.join(10)
        with self._lock:
            for fd in self._fds.values():
                os.close(fd)
            self._fds.clear()
            self._calls.clear()
        self._poll.close()
        os.close(self._wake)

    def _open(self, name: str) -> int | None:
        pid = int(name.partition(".")[0])
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return None
        if name_of(pid) == name:
            return fd
        os.close(fd)
        return None

    def _serve(self) -> None:
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._wake:
                    return
                with self._lock:
                    name, ended = self._calls.pop(fd, ("", None))
                    if self._fds.pop(name, None) is not None:
                        with suppress(OSError):
                            self._poll.unregister(fd)
                        os.close(fd)
                if ended is not None:
                    _call(name, ended)


def _call(name: str, ended: Callable[[], None]) -> None:
    try:
        ended()
    except Exception:
        # The thread serves all the others as well.
        log.exception("the end of process %s could not be dealt with", name)
