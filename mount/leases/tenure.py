"""One store, opened with one lease, for as long as anybody works in it."""

from __future__ import annotations

import threading

from datastores.storage.contract import Store


class Tenure:
    """Closes its store when it is over and the last one has left."""

    def __init__(self, number: int, store: Store) -> None:
        self.number = number
        self.store = store
        self._lock = threading.Lock()
        # Both under the lock.
        self._users = 0
        self._is_over = False

    def renew(self) -> None:
        """In a forked child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            is_last = self._is_over and not self._users
        if is_last:
            self.store.close()

    def end(self) -> None:
        """Another one has taken its place."""
        with self._lock:
            self._is_over = True
            is_idle = not self._users
        if is_idle:
            self.store.close()
