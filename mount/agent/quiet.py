"""Which files of a folder that is being written can be sent already.

A file is ripe when it has not changed for a while and nobody has it open for writing. Folders are
polled: a scan costs a stat per file, sees what inotify misses (network file systems, files written
through maps, folders moved in whole) and needs no watch per folder, of which the kernel grants few.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass

from datastores.transfer.sources import Found

# A file that changed after it was sent must stay quiet twice as long each time: a log that grows
# all day is sent a dozen times, not once a second.
_LAST_DOUBLING = 12


@dataclass(slots=True)
class _Watched:
    found: Found
    since: float
    sent: int = 0


class Quiet:
    """Remembers files from scan to scan. Belongs to one thread."""

    def __init__(self, quiet_seconds: float) -> None:
        self._quiet_seconds = quiet_seconds
        self._watched: dict[str, _Watched] = {}

    def ripe(self, scan: Iterable[Found], now: float) -> list[Found]:
        """Those of the scan that have been the same for long enough."""
        before, self._watched = self._watched, {}
        ripe: list[Found] = []
        for found in scan:
            seen = before.get(found.name)
            if seen is None or seen.found != found:
                seen = _Watched(found, now, seen.sent if seen else 0)
            self._watched[found.name] = seen
            patience = self._quiet_seconds * 2 ** min(seen.sent, _LAST_DOUBLING)
            if now - seen.since >= patience:
                ripe.append(found)
        return ripe

    def sent(self, name: str) -> None:
        """Note that it was sent: if it changes again, it has to wait longer."""
        if name in self._watched:
            self._watched[name].sent += 1


def is_written(path: str) -> bool:
    """Whether somebody has the file open for writing, as far as this file system tells.

    A read lease is granted only on files without writers; it is given back at once. The caller
    ignores SIGIO, by which a writer who comes in between is announced.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False
