"""Failures of the disk: counted each time, logged once per kind, never passed on."""

from __future__ import annotations

import errno
import logging
import threading
from collections import Counter

_log = logging.getLogger(__name__)


class Trouble:
    """What went wrong on the cache's disk; the cache answers "not here" and goes on."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        # Under the lock: failures by what was tried and why it failed.
        self._counts: Counter[tuple[str, str]] = Counter()

    def note(self, deed: str, error: OSError) -> None:
        reason = errno.errorcode.get(error.errno or 0, "EIO")
        with self._lock:
            self._counts[deed, reason] += 1
            first = self._counts[deed, reason] == 1
        if first:
            _log.warning(
                "cache degraded",
                extra={"folder": self._folder, "deed": deed, "reason": reason},
            )

    @property
    def counts(self) -> dict[str, int]:
        """How often, by "deed: reason"."""
        with self._lock:
            return {f"{deed}: {reason}": count for (deed, reason), count in self._counts.items()}
