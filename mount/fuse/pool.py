"""Threads for requests that have to wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Pool:
    """Runs jobs on at most `threads` threads, started as they are needed.

    Jobs queue without limit: each is a caller that the kernel holds anyway. A job must not raise.
    The threads are daemons: a stuck one does not keep the process alive.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        # All under the lock.
        self._started: list[threading.Thread] = []
        self._idle = 0
        self._begun: dict[int, float] = {}

    def submit(self, job: Callable[[], None]) -> None:
        """Run the job soon."""
        self._jobs.put(job)
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self._started) < self.threads:
                thread = threading.Thread(target=self._work, name="fuse-pool", daemon=True)
                self._started.append(thread)
                thread.start()

    def oldest_seconds(self) -> float:
        """How long the slowest running job has been at it; 0 if none runs."""
        with self._lock:
            begun = min(self._begun.values(), default=None)
        return 0.0 if begun is None else time.monotonic() - begun

    def close(self, seconds: float) -> bool:
        """Let the threads finish; False if some still work after so many seconds."""
        with self._lock:
            threads = list(self._started)
        for _ in threads:
            self._jobs.put(None)
        deadline = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _work(self) -> None:
        me = threading.get_ident()
        while (job := self._next()) is not None:
            with self._lock:
                self._begun[me] = time.monotonic()
            try:
                job()
            finally:
                with self._lock:
                    del self._begun[me]

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._jobs.get_nowait()
        except Empty:
            with self._lock:
                self._idle += 1
            return self._jobs.get()
