"""Processes that are forked to do some of this one's work."""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import traceback
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Self

log = logging.getLogger(__name__)

MOST_CHILDREN = 4
# How many at most, for programs whose other libraries do not bear a fork: 0 is none.
VARIABLE = "DATASTORES_CHILDREN"
_KILLED_SECONDS = 5.0


def children_for(processors: int) -> int:
    """How many share the work; 0 where one processor has to do everything anyway."""
    return 0 if processors < 2 else min(MOST_CHILDREN, processors)


def possible_children() -> int:
    """How many children are of use here; 0 where forking is no good way to get one."""
    # On macOS the system's own libraries do not survive a fork.
    if not hasattr(os, "pidfd_open"):
        return 0
    most = os.environ.get(VARIABLE, "")
    count = children_for(len(os.sched_getaffinity(0)))
    return min(count, int(most)) if most.isdecimal() else count


class Child:
    """One forked process; whoever made it takes leave of it with `end`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._has_ended = False

    @classmethod
    def fork(cls, serve: Callable[[], None]) -> Self:
        """A process that serves and ends; it leaves no trace in what it inherits."""
        pid = os.fork()
        if pid:
            return cls(pid)
        code = 1
        try:
            _settle_in()
            serve()
            code = 0
        except BaseException:  # noqa: BLE001 - told, and its end tells the parent
            traceback.print_exc()
        finally:
            # Nothing of the parent's is flushed, finished or removed here.
            os._exit(code)

    def is_gone(self) -> bool:
        """Whether it has ended."""
        try:
            self._has_ended = self._has_ended or os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            # Somebody else in this process waits for all children.
            self._has_ended = True
        return self._has_ended

    def end(self, seconds: float) -> None:
        """Wait for its end, and make it end when the time is over."""
        if self.is_gone():
            return
        try:
            if not self._ends_within(seconds):
                os.kill(self.pid, signal.SIGKILL)
                # A process that the kernel holds does not end before that lets it go.
                if not self._ends_within(_KILLED_SECONDS):
                    log.warning("a child is held by the kernel and is left to end by itself")
                    return
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError) as error:
            log.debug("somebody else waited for a child: %s", error)
        self._has_ended = True

    def _ends_within(self, seconds: float) -> bool:
        waiting = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(waiting, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        finally:
            os.close(waiting)


def close_inherited(is_unwanted: Callable[[str], bool]) -> None:
    """In a child: close the descriptors of files that it has no business to hold open."""
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  # names are all that is wanted
        try:
            if is_unwanted(str(Path(f"/proc/self/fd/{number}").readlink())):
                os.close(int(number))
        except OSError as error:
            log.debug("descriptor %s was gone: %s", number, error.strerror)


def keep_only(wanted: Container[int]) -> None:
    """In a child: close every descriptor but these."""
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208  # as above
        if number not in wanted:
            with suppress(OSError):  # that of the list itself
                os.close(number)


def _settle_in() -> None:
    # An interrupt or an end is the parent's to handle; its children end when it hangs up.
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Handlers may write to files that are closed here, and whose numbers others get; whatever goes
    # wrong here is met again, and told, by the parent.
    logging.disable()
    # What was the parent's garbage stays: finalisers would work on the parent's files.
    gc.freeze()
