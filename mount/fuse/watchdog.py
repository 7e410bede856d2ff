"""Cuts a connection whose requests are not answered any more.

Everything remote is bounded below the adapter, so this should never fire; where it must, callers
get an error instead of a sleep that no signal ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mount.fuse.mounted import Mounted

log = logging.getLogger(__name__)


class Watchdog:
    """Aborts the mount when one request has been worked on for longer than the limit."""

    def __init__(self, mounted: Mounted, limit_seconds: float) -> None:
        self.mounted = mounted
        self.limit_seconds = limit_seconds
        self.fired = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fuse-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(self.limit_seconds)

    def _watch(self) -> None:
        session = self.mounted.session
        reading = stuck_reader(lambda: (session.counters.requests, session.is_answering))
        while not self._over.wait(self.limit_seconds / 10):
            oldest = max(session.pool.oldest_seconds(), reading())
            if oldest > self.limit_seconds:
                log.error(
                    "%s has worked on one request for %.0f s; its connection is cut",
                    self.mounted.mountpoint,
                    oldest,
                )
                self.mounted.abort()
                self.fired.set()
                return


def stuck_reader(
    state: Callable[[], tuple[int, bool]], clock: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """How long the reading thread has been in one request, by looks at its state now and then."""
    last, since = state(), clock()

    def seconds() -> float:
        nonlocal last, since
        now = state()
        if now != last or not now[1]:
            last, since = now, clock()
        return clock() - since

    return seconds
