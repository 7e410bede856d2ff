"""A small process that runs one command and says what it cost.

The kernel gives a new process the peak memory of whoever started it (`ru_maxrss` survives `exec`),
so the starter must be small; the harness, which makes and checks data, is not.
Run as `python -m benchmarks.clock`, with the command as JSON on standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

_SAMPLE_SECONDS = 0.2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Read the order, run it, print the cost."""
    order = json.load(sys.stdin)
    # An interrupted harness terminates this process; the command must not survive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with open(order["log"], "wb") as output:  # noqa: PTH123 - pathlib would add to this process's size
        started = time.monotonic()
        process = subprocess.Popen(
            order["argv"],
            cwd=order["folder"],
            env=order["environment"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch = _Watch(process.pid, order["limit_seconds"])
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall_seconds = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            watch.end()
            # Whoever a killed or careless leader leaves behind must not run into the next run.
            _kill_group(process.pid)
            if process.returncode is None:
                process.wait()
    cost = {
        "wall_seconds": wall_seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": max(usage.ru_maxrss * 1024, watch.peak_bytes),
        "exit_code": process.returncode,
        "timed_out": watch.timed_out,
    }
    print(json.dumps(cost))


class _Watch:
    """A thread that sums the session's memory now and then, and kills it at the limit."""

    def __init__(self, session: int, limit_seconds: float) -> None:
        self.peak_bytes = 0
        self.timed_out = False
        self._session = session
        self._deadline = time.monotonic() + limit_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, _session_rss_bytes(self._session))
            if not self.timed_out and time.monotonic() > self._deadline:
                self.timed_out = True
                _kill_group(self._session)


def _session_rss_bytes(session: int) -> int:
    """What all processes of a session hold, pages they share counted for each."""
    total = 0
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would add to this process's size
        if name.isdigit():
            # A process may end between being listed and being read.
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:  # noqa: PTH123 - see above
                fields = file.read().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    total += int(fields[21]) * _PAGE_BYTES
    return total


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
