"""The pieces of one file, done by several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Pieces:
    """Counts the pieces of a file down; after the first failure the others are left out.

    The thread that ends the last piece ends the file, so nobody waits for anybody.
    """

    def __init__(self, complete: Callable[[], None]) -> None:
        self._complete = complete
        self._lock = threading.Lock()
        # Under the lock.
        self.left = 0
        self.error: Exception | None = None

    def run(self, bring: Callable[[], int | None]) -> int | None:
        """Do one piece; the bytes it moved."""
        moved: int | None = None
        error: Exception | None = None
        try:
            if self.error is None:
                moved = bring()
        except Exception as failed:  # noqa: BLE001  # reported with the file's name
            error = failed
        with self._lock:
            self.error = self.error or error
            self.left -= 1
            last = self.left == 0
        if last:
            self._complete()
        return moved
