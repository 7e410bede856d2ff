"""One fetch at a time of each thing on a node: others wait for it and find it in the cache."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# Two things that share a lock wait for each other without need; 128 requests at once meet in one
# of so many about twice.
_LOCKS = 4096
# A process that is stopped in the middle of a fetch may sit on a lock for ever.
_MOST_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.002
# Many waiters must not eat the processor of the one who fetches.
_LAST_PAUSE_SECONDS = 0.1


class FetchLocks:
    """Locks of flock(2), which end with their process; the files stay, and are empty."""

    def __init__(self, folder: Path, most_seconds: float = _MOST_SECONDS) -> None:
        self._folder = folder
        self._most_seconds = most_seconds

    @contextmanager
    def alone(self, what: str, check: Callable[[], None]) -> Iterator[bool]:
        """Whether this block is the only one on the node for this thing.

        False after the bound, and where the folder takes no locks: a thing is then fetched twice.
        `check` is called while it waits, and may end the wait by raising.
        """
        fd = self._open(what)
        if fd is None:
            yield False
            return
        try:
            yield self._take(fd, check)
        finally:
            os.close(fd)

    def _open(self, what: str) -> int | None:
        number = (
            int.from_bytes(hashlib.sha256(what.encode("utf-8", "surrogatepass")).digest()[:4])
            % _LOCKS
        )
        path = self._folder / f"{number:03x}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.info('"%s" takes no locks: %s', self._folder, error.strerror)
            return None

    def _take(self, fd: int, check: Callable[[], None]) -> bool:
        end, pause = time.monotonic() + self._most_seconds, _FIRST_PAUSE_SECONDS
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    return False
                check()
                time.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
            else:
                return True
