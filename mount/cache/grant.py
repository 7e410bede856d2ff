"""Room that one process takes ahead of its small files, so that most of them ask nobody."""

from __future__ import annotations

import os
import threading

from mount.cache import lease
from mount.cache.layout import AHEAD_SUFFIX, name_open_file


class Grant:
    """Bytes that are taken in the ledger and not yet on the disk.

    While the process lives, a census counts all of them by a locked, empty file among what comes
    in, which is named after `most_bytes`: never too little, and too much by one grant at most. What
    a killed process had left is found again by the next census.
    """

    def __init__(self, incoming: str, most_bytes: int) -> None:
        self._incoming = incoming
        self.most_bytes = most_bytes
        self._turn = threading.Lock()
        # All below: under the turn. Left and under way are never more than `most_bytes` together.
        self._left = 0
        self._under_way = 0
        # Where the census sees it, once it was opened.
        self.path = ""
        self._fd = -1
        # A forked child would spend what its parent spends.
        self._pid = os.getpid()

    def spend(self, charge: int) -> bool:
        """Whether there was enough left; `settle` follows."""
        with self._turn:
            if charge > self._left or self._pid != os.getpid():
                return False
            self._left -= charge
            self._under_way += charge
            return True

    def settle(self, charge: int) -> None:
        """Bytes that were spent have a name that a census sees, or were given back."""
        with self._turn:
            self._under_way -= charge

    def open(self) -> int:
        """How many bytes may be added; from now on a census knows of them."""
        with self._turn:
            if self._pid != os.getpid():
                self._disown()
            if self._fd < 0:
                self._announce()
            return self.most_bytes - self._left - self._under_way

    def add(self, amount: int) -> None:
        with self._turn:
            self._left += amount

    def lapse(self) -> int:
        """What was left, no longer ours: the caller gives it back."""
        with self._turn:
            left, self._left = self._left, 0
            return left if self._pid == os.getpid() else 0

    def close(self) -> None:
        """Stop being counted; after `lapse`."""
        with self._turn:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                if self._pid == os.getpid():
                    os.unlink(self.path)  # noqa: PTH108  # text paths here
            finally:
                os.close(fd)

    def _announce(self) -> None:
        # The pid alone would not do: the same number may run in another container.
        unique = f"{self.most_bytes:x}-{os.getpid():x}-{os.urandom(8).hex()}"
        path = f"{self._incoming}/{unique}{AHEAD_SUFFIX}"
        fd = os.open(self._incoming, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # Locked before it is seen, so that one without a lock is a dead one's at any age.
            lease.share(fd)
            name_open_file(fd, path)
        except BaseException:
            os.close(fd)
            raise
        self.path, self._fd = path, fd

    def _disown(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._left, self._under_way, self._pid = -1, 0, 0, os.getpid()
