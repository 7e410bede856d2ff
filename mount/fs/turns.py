"""Changes of one name, or of a folder and what is in it, happen one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from datastores.errors import Unavailable
from datastores.keys import is_below


class Turns:
    """Claims on places; two claims exclude each other when one place is in the other.

    A claim is held across requests, the lock never is.
    """

    def __init__(self, lock: Any, seconds: float, label: str) -> None:
        self._free = threading.Condition(lock)
        self._seconds = seconds
        self._label = label
        # Under the lock.
        self._taken: list[tuple[str, ...]] = []

    def is_free(self, *places: str) -> bool:
        """Whether a claim would be granted at once; the lock is held."""
        return not any(
            is_below(mine, theirs) or is_below(theirs, mine)
            for taken in self._taken
            for theirs in taken
            for mine in places
        )

    @contextmanager
    def claim(self, places: Callable[[], Sequence[str]]) -> Iterator[Sequence[str]]:
        """Wait for the places; they are asked for again after each wait, since names may move."""
        deadline = time.monotonic() + self._seconds
        with self._free:
            wanted = tuple(places())
            while not self.is_free(*wanted):
                if not self._free.wait(deadline - time.monotonic()):
                    raise Unavailable(
                        self._label, wanted[0], "another change of it does not end; try again"
                    )
                wanted = tuple(places())
            self._taken.append(wanted)
        try:
            yield wanted
        finally:
            with self._free:
                self._taken.remove(wanted)
                self._free.notify_all()
