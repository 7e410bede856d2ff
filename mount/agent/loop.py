"""Events in the order they come, from threads, signals and the clock."""

from __future__ import annotations

import heapq
import itertools
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

from mount.lifecycle.events import CancelAsked, Event, TerminateNotice

T = TypeVar("T")


class Loop(Generic[T]):
    """A queue that anybody may put into, and one thread takes from."""

    def __init__(self) -> None:
        # Of this kind of queue alone `put` may interrupt `get`, as a signal does.
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()
        # Of the taking thread.
        self._later: list[tuple[float, int, Callable[[], T | None]]] = []
        self._numbers = itertools.count()

    def put(self, event: T) -> None:
        self._queue.put(event)

    def after(self, seconds: float, event: Callable[[], T | None]) -> None:
        """Ask for an event when so much time has passed; None then means that it has no point."""
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), event))

    def take(self) -> T:
        """The next event."""
        while True:
            wait = self._later[0][0] - time.monotonic() if self._later else None
            if wait is not None and wait <= 0:
                due = heapq.heappop(self._later)[2]()
                if due is not None:
                    return due
                continue
            try:
                return self._queue.get(timeout=wait)
            except queue.Empty:
                continue


@contextmanager
def signals_into(put: Callable[[Event], None]) -> Iterator[None]:
    """SIGINT asks to cancel, SIGTERM says that the machine is taken away; both as events.

    Signals belong to the main thread; in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler's signature
        put(CancelAsked(number) if number == signal.SIGINT else TerminateNotice(number))

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    # Sent when somebody opens a file in the moment its lease is asked for.
    before[signal.SIGIO] = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
