"""Deeds in the background: about one thing one after the other, about different things at once."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)

# Starting a host takes a process and a request; more at once only queue for the processor.
_AT_ONCE = 16


class Strands:
    """A pool whose deeds keep their order where it matters."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="deed")
        self._rest = threading.Condition()
        # Under `_rest`; a thing is here while one of its deeds runs or waits.
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def run(self, thing: str, deed: Callable[[], None]) -> None:
        with self._rest:
            if thing in self._waiting:
                self._waiting[thing].append(deed)
                return
            self._waiting[thing] = deque([deed])
        self._pool.submit(self._work, thing)

    def wait_idle(self, seconds: float) -> bool:
        """Whether nothing runs and nothing waits, within so many seconds."""
        with self._rest:
            return self._rest.wait_for(lambda: not self._waiting, seconds)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, thing: str) -> None:
        while True:
            with self._rest:
                queue = self._waiting[thing]
                if not queue:
                    del self._waiting[thing]
                    self._rest.notify_all()
                    return
                deed = queue.popleft()
            try:
                deed()
            except Exception:
                # Each deed reports its own failures; this is a defect, and the next deed goes on.
                log.exception("a deed about %s failed", thing)
