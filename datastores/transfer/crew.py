"""Threads that work through a stream of pieces of work, as many at once as the pace allows."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from datastores.transfer.hosts import HostBudget
from datastores.transfer.options import Limits
from datastores.value import Value

# A thread takes several pieces of light work at once while more than this many times as many wait as
# may run: handing over one 4 KiB file at a time woke another thread for each of them.
PLENTY = 4
MOST_AT_ONCE = 16
# And no more than this takes: what a change of the pace brings is known only when pieces of work end
# that began after it.
AT_ONCE_SECONDS = 0.05
LIGHT = 1 << 20
# Enough for every thread to find something, few enough that a million files are never in memory.
AHEAD = 256


class Stopped(BaseException):
    """The transfer is being given up; raised inside work at the next safe point."""


class Work(Value):
    """Something to do, and how many bytes of memory it may hold while it is done.

    `run` returns the bytes it moved, or None when it says nothing about the network.
    """

    run: Callable[[], int | None]
    weight: int = 0
    # How several pieces of this kind are done at once, where that is better than one by one; it
    # tells the budget itself what moved.
    together: Callable[[Sequence[Work]], None] | None = None


class Crew:
    """Runs a lazy stream of work on threads; nobody waits for anybody inside a piece of work.

    Work that opens more work (the ranges of a large file) hands it to `add`; such follow-ups go
    before new files, so that few files are open at a time. Because work never blocks on other
    work, the crew cannot deadlock, whatever the limits are.
    """

    def __init__(self, budget: HostBudget, limits: Limits) -> None:
        self._budget = budget
        self._limits = limits
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        # For those who wait for the end alone: new work wakes one thread, which must be one that
        # would do it.
        self._ended = threading.Condition(lock)
        # Everything below is under the lock of both.
        self._feed: deque[Work] = deque()
        self._urgent: deque[Work] = deque()
        self._fed = self._filler_waits = False
        self._active = 0
        self._weight = 0
        # The piece of work that moved something and took least.
        self.quickest_seconds = math.inf
        # A piece of light work, on average; so long until it is known.
        self._piece_seconds = 1.0
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._stopped = self._gave_up = False
        self._broken: BaseException | None = None

    def run(self, feed: Iterable[Work]) -> None:
        """Work through the stream and everything it opens; the first unexpected error is raised.

        An interrupt stops the threads at their next piece of bytes and is passed on; a thread that
        is stuck in the network longer than `stop_seconds` is left behind and touches nothing more.
        """
        self._start(lambda: self._fill(feed))
        try:
            with self._changed:
                # The time-out lets an interrupt reach this thread while it waits.
                while not self._over():
                    self._ended.wait(0.5)
        finally:
            self.stop()
            deadline = time.monotonic() + self._limits.stop_seconds
            for thread in list(self._threads):
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._broken is not None:
            raise self._broken

    def add(self, works: Iterable[Work]) -> None:
        """Follow-ups of the work under way, done before anything new."""
        with self._changed:
            self._urgent.extend(works)
            self._grow()
            self._changed.notify_all()

    def stop(self) -> None:
        """Start nothing new and end what runs at its next safe point."""
        with self._changed:
            self._gave_up = self._gave_up or not self._over()
            self._stopped = True
            self._feed.clear()
            self._urgent.clear()
            self._wake_everybody()

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def gave_up(self) -> bool:
        """Whether work was left undone."""
        return self._gave_up

    def check(self) -> None:
        """A safe point inside a piece of work."""
        if self._stopped:
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Wait inside a piece of work, and be woken when the transfer is given up."""
        with self._changed:
            self._ended.wait_for(lambda: self._stopped, seconds)
        self.check()

    def _over(self) -> bool:
        idle = not (self._active or self._feed or self._urgent)
        return self._stopped or self._broken is not None or (self._fed and idle)

    def _wake_everybody(self) -> None:
        self._changed.notify_all()
        self._ended.notify_all()

    def _start(self, target: Callable[[], None]) -> None:
        # Daemons: a process that was interrupted must not hang at its end on a silent server.
        thread = threading.Thread(target=target, name="datastores-transfer", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _fill(self, feed: Iterable[Work]) -> None:
        try:
            for work in feed:
                with self._changed:
                    while len(self._feed) >= AHEAD and not self._stopped:
                        self._filler_waits = True
                        self._changed.wait()
                    self._filler_waits = False
                    if self._stopped:
                        return
                    self._feed.append(work)
                    self._grow()
                    self._changed.notify()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  # carried to the caller's thread
            self._break(error)
        finally:
            with self._changed:
                self._fed = True
                self._wake_everybody()

    def _grow(self) -> None:
        queue = self._urgent or self._feed
        waiting = len(self._feed) + len(self._urgent)
        if waiting <= self._idle or not self._fits(queue[0]):
            return
        if len(self._threads) - 1 < self._most:
            self._start(self._labour)

    @property
    def _most(self) -> int:
        return min(self._limits.streams, self._budget.allowed)

    def _labour(self) -> None:
        while works := self._take():
            began = time.monotonic()
            try:
                if together := works[0].together:
                    together(works)
                    continue
                for work in works:
                    self.check()
                    self._run(work)
            except Stopped:
                pass
            except BaseException as error:  # noqa: BLE001  # carried to the caller's thread
                self._break(error)
            finally:
                self._budget.leave()
                self._done(works, time.monotonic() - began)

    def _run(self, work: Work) -> None:
        began = time.monotonic()
        moved = work.run()
        if moved:
            # Between two threads the lesser one may be lost, and the next one is about as quick.
            self.quickest_seconds = min(self.quickest_seconds, time.monotonic() - began)
        self._budget.done(moved)

    def _take(self) -> Sequence[Work]:
        with self._changed:
            while not self._over():
                queue = self._urgent or self._feed
                if not queue:
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                elif self._fits(queue[0]) and self._budget.enter(self._limits.per_host):
                    return self._begin(queue)
                elif self._active:
                    # More threads than the pace allows: this one goes home, `_grow` calls another.
                    self._threads.remove(threading.current_thread())
                    return ()
                else:
                    # Another transfer holds the host's budget, and its end is not announced here.
                    self._ended.wait(0.02)
            self._wake_everybody()
            return ()

    def _begin(self, queue: deque[Work]) -> Sequence[Work]:
        works = [queue.popleft()]
        weight = works[0].weight
        share = self._share() if queue is self._feed else 0
        while (
            len(works) < share
            and weight + queue[0].weight <= LIGHT
            and queue[0].together is works[0].together
        ):
            works.append(queue.popleft())
            weight += works[-1].weight
        self._active += 1
        self._weight += weight
        if self._filler_waits and len(self._feed) <= AHEAD // 2:
            self._changed.notify_all()
        self._grow()
        return works

    def _share(self) -> int:
        """How many pieces of light work a thread takes at once."""
        share = len(self._feed) // (PLENTY * self._most)
        return min(share, MOST_AT_ONCE, int(AT_ONCE_SECONDS / max(self._piece_seconds, 1e-6)))

    def _fits(self, work: Work) -> bool:
        most = self._limits.memory_bytes
        return self._active < self._limits.streams and (
            not self._weight or self._weight + work.weight <= most
        )

    def _done(self, works: Sequence[Work], seconds: float) -> None:
        with self._changed:
            if works[0].weight <= LIGHT:
                self._piece_seconds += (seconds / len(works) - self._piece_seconds) / 4
            self._active -= 1
            self._weight -= sum(work.weight for work in works)
            if self._over():
                self._wake_everybody()

    def _break(self, error: BaseException) -> None:
        with self._changed:
            self._broken = self._broken or error
            self._gave_up = True
        self.stop()
