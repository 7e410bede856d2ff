"""The budget of requests to one host, shared by every transfer of the process."""

from __future__ import annotations

import os
import threading
import time
import urllib.parse
from collections.abc import Callable

from datastores.transfer.pace import Pace

# Twice the small requests that a process was seen to make: so many times what the quickest one took
# are enough streams to begin with. With 1500 small downloads from a near host were 5 % slower.
MOST_A_SECOND = 3000


class HostBudget:
    """Requests under way to one host and the pace they have found; any thread may use it."""

    def __init__(
        self,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._spent = spent
        self._lock = threading.Lock()
        # Both under the lock.
        self._pace = pace
        self._busy = 0
        self._refusals = 0
        # Processor time of processes that work for this one, and how many they are; and since when.
        self._spent_elsewhere = 0.0
        self._processes = 1
        self._before = 0.0

    def enter(self, most: int) -> bool:
        """Whether one more request may start; a yes must be followed by `leave`."""
        with self._lock:
            if self._busy >= min(most, self._pace.allowed):
                return False
            self._busy += 1
            return True

    def done(self, moved: int | None, requests: int = 1) -> None:
        """Requests ended; None when they did not reach the host and say nothing about it."""
        if moved is not None:
            with self._lock:
                self._pace.done(self._clock(), moved, self._busy, self._share(), requests)

    def helped(self, seconds: float, refusals: int) -> None:
        """Another process has worked for this one so long, and was asked for patience so often."""
        with self._lock:
            self._spent_elsewhere += seconds
        for _ in range(refusals):
            self.throttled(None)

    def share(self, processes: int, quickest_seconds: float) -> None:
        """From now on the work is done by so many processes; the quickest request took so long."""
        with self._lock:
            # A share never becomes less.
            share, self._before = self._share(), 0.0
            self._processes = processes
            self._before = share - self._share()
            self._pace.disturb(MOST_A_SECOND * processes * quickest_seconds)

    def _share(self) -> float:
        """Processor time of each process that works for this transfer, on average."""
        return self._before + (self._spent() + self._spent_elsewhere) / self._processes

    def leave(self) -> None:
        """Whoever entered makes no more requests."""
        with self._lock:
            self._busy -= 1

    def throttled(self, retry_after_seconds: float | None) -> None:
        """The host asked for patience."""
        with self._lock:
            self._refusals += 1
            self._pace.throttled(self._clock(), retry_after_seconds)

    @property
    def refusals(self) -> int:
        """How often the host has asked for patience so far."""
        return self._refusals

    @property
    def allowed(self) -> int:
        # Without the lock: asked several times a file, and one number is never half written.
        return self._pace.allowed


_lock = threading.Lock()
_budgets: dict[str, HostBudget] = {}


def budget_for(identity: str) -> HostBudget:
    """The budget of the host behind a store; stores of one account share it."""
    host = urllib.parse.urlsplit(identity).netloc or identity
    with _lock:
        if host not in _budgets:
            _budgets[host] = HostBudget(Pace())
        return _budgets[host]


def slow_down(identity: str, retry_after_seconds: float | None) -> None:
    """A store was asked for patience and is waiting; for whoever retries on its behalf."""
    budget_for(identity).throttled(retry_after_seconds)


def _forget_after_fork() -> None:
    # A child inherits counts of threads it does not have, and perhaps a lock nobody will release.
    global _lock, _budgets
    _lock, _budgets = threading.Lock(), {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
