"""Who holds a file: locks of flock(2), which the kernel lets go when a process dies.

Whoever reads or fills a file holds its data shared; only who can own it alone may evict it. The
lock belongs to the open file, so it also lives as long as the kernel itself has the file open for
passthrough. No wait is without end: a stopped process may sit on any lock.
"""

from __future__ import annotations

import fcntl
import time

# Whoever owns a data file alone is deciding about one unlink: microseconds.
SHARE_WAIT_SECONDS = 0.05
_FIRST_PAUSE_SECONDS = 0.000_05
_LONGEST_PAUSE_SECONDS = 0.005


def share(fd: int, wait_seconds: float = SHARE_WAIT_SECONDS) -> bool:
    """Hold together with others; False when somebody owns it alone for too long."""
    return _lock(fd, fcntl.LOCK_SH, wait_seconds)


def own(fd: int, wait_seconds: float = 0.0) -> bool:
    """Hold alone; False when anybody else still holds it."""
    return _lock(fd, fcntl.LOCK_EX, wait_seconds)


def let_go(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_UN)


def _lock(fd: int, kind: int, wait_seconds: float) -> bool:
    if _try(fd, kind):
        return True
    end = time.monotonic() + wait_seconds
    pause = _FIRST_PAUSE_SECONDS
    while time.monotonic() < end:
        time.sleep(pause)
        if _try(fd, kind):
            return True
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    return False


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
