"""The running count of one transfer."""

from __future__ import annotations

import threading
import time

from datastores.errors import TransferFailed
from datastores.transfer.summary import Summary
from datastores.transfer.watcher import Watcher


class Ledger:
    """Counts what happens and passes it on to the watcher; any thread may write."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._began = time.monotonic()
        self._lock = threading.Lock()
        # All under the lock.
        self._found = self._moved = self._skipped = self._deleted = 0
        self._bytes = self._resumed = self._retries = 0
        self._failures: list[tuple[str, BaseException]] = []
        self._abandoned = False

    def found(self, size: int) -> None:
        with self._lock:
            self._found += 1
        self._watcher.found(1, size)

    def started(self, name: str) -> None:
        self._watcher.started(name)

    def moved(self, name: str, size: int) -> None:
        with self._lock:
            self._bytes += size
        self._watcher.moved(name, size)

    def resumed(self, name: str, size: int) -> None:
        """Bytes that an earlier run left and that proved good."""
        with self._lock:
            self._resumed += size
        self._watcher.moved(name, size)

    def finished(self, name: str) -> None:
        with self._lock:
            self._moved += 1
        self._watcher.finished(name)

    def skipped(self, name: str, why: str) -> None:
        with self._lock:
            self._skipped += 1
        self._watcher.skipped(name, why)

    def deleted(self, name: str) -> None:
        with self._lock:
            self._deleted += 1
        self._watcher.skipped(name, "deleted: the source does not have it")

    def failed(self, name: str, error: BaseException) -> None:
        with self._lock:
            self._failures.append((name, error))
        self._watcher.failed(name, error)

    def retried(self, times: int = 1) -> None:
        with self._lock:
            self._retries += times

    def abandon(self) -> None:
        """The transfer was given up before everything was tried."""
        with self._lock:
            self._abandoned = True

    def summary(self) -> Summary:
        with self._lock:
            return Summary(
                found=self._found,
                moved=self._moved,
                skipped=self._skipped,
                deleted=self._deleted,
                failed=len(self._failures),
                bytes=self._bytes,
                resumed_bytes=self._resumed,
                seconds=time.monotonic() - self._began,
                retries=self._retries,
                failures=tuple(self._failures),
            )

    def settle(self) -> Summary:
        """The summary of a transfer in which every file arrived, or `TransferFailed` with it."""
        summary = self.summary()
        if summary.failures:
            done = summary.moved + summary.skipped
            note = ""
            if self._abandoned:
                # What the listing had not come to yet is not even known.
                left = _untried(summary.found - done - summary.failed)
                note = f"Then it gave up: {left}; run all of it again"
            raise TransferFailed(done, summary.failures, summary, note)
        return summary


def _untried(left: int) -> str:
    if left > 0:
        return f"{left} more files, and what was not listed yet, were not tried"
    return "the rest was not tried"
