"""Keeps forks and transactions of one process apart."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

# A fork waits this long for the transactions of other threads, then it goes ahead.
LONGEST_WAIT_SECONDS = 15.0


class ForkGate:
    """Transactions pass together; a fork waits until none of another thread is under way.

    A child inherits every lock as it was at that moment, and nobody to release those of other
    threads: SQLite's own mutexes, for one, would stop the child at its first transaction.
    """

    def __init__(self) -> None:
        self._reset()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """No fork happens inside, except by the same thread."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def close(self) -> None:
        """Before a fork: let nobody in and wait for those who are inside."""
        self._changed.acquire()
        self._forks += 1
        self._changed.wait_for(lambda: self._inside <= self._own_depth(), LONGEST_WAIT_SECONDS)

    def open(self) -> None:
        """After a fork, in the parent."""
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()

    def renew(self) -> None:
        """After a fork, in the child, which has one thread."""
        depth = self._own_depth()
        self._reset()
        self._inside = self._own.depth = depth

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._own = threading.local()
        self._inside = 0  # transactions under way; under `_changed`, as the next
        self._forks = 0  # forks waiting or happening

    def _own_depth(self) -> int:
        depth: int = getattr(self._own, "depth", 0)
        return depth

    def _enter(self) -> None:
        depth = self._own_depth()
        with self._changed:
            # A transaction inside another of the same thread would wait for a fork that waits
            # for the outer one.
            if not depth:
                self._changed.wait_for(lambda: not self._forks, LONGEST_WAIT_SECONDS)
            self._inside += 1
        self._own.depth = depth + 1

    def _leave(self) -> None:
        self._own.depth -= 1
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()


fork_gate = ForkGate()

os.register_at_fork(
    before=fork_gate.close,
    after_in_parent=fork_gate.open,
    after_in_child=fork_gate.renew,
)
