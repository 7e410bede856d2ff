"""Who goes first: readers that wait for bytes hold the gate, warming passes when nobody does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class PriorityGate(Protocol):
    """What warming asks before each request."""

    def wait(self, seconds: float) -> bool:
        """Return once no reader is waiting for the store, after this long at most."""


class ForegroundGate:
    """Counts the readers that wait for the store; any thread may enter and leave."""

    def __init__(self) -> None:
        self._quiet = threading.Condition()
        # Under the condition: readers inside.
        self._readers = 0

    @contextmanager
    def foreground(self) -> Iterator[None]:
        """Held by a reader while it waits for a miss."""
        with self._quiet:
            self._readers += 1
        try:
            yield
        finally:
            with self._quiet:
                self._readers -= 1
                if not self._readers:
                    self._quiet.notify_all()

    def wait(self, seconds: float) -> bool:
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._readers, seconds)
