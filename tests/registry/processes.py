"""Work done in processes of its own."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import traceback
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

PROCESSES = 8
NOBODY = 65534


def forked(work: Callable[[], object], *, as_nobody: bool = False) -> int:
    """Run in a fork; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        _run_and_exit(work, as_nobody=as_nobody)
    ended = os.pidfd_open(child)
    try:
        if not select.select([ended], [], [], 60)[0]:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_processes(work: Callable[[int, Barrier], dict[str, Any]]) -> list[dict[str, Any]]:
    """What each of eight processes reports, in order; an error in one is an error here."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(PROCESSES)
    answers = context.SimpleQueue()

    def run(number: int) -> None:
        try:
            answers.put((number, work(number, start)))
        except BaseException:  # noqa: BLE001  # raised again by the parent
            start.abort()
            answers.put((number, traceback.format_exc()))

    processes = [context.Process(target=run, args=(number,)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    try:
        found = dict(answers.get() for _ in processes)
        for process in processes:
            process.join(60)
    finally:
        for process in processes:
            process.kill()
            process.join()
        answers.close()
    failures = [answer for answer in found.values() if isinstance(answer, str)]
    assert not failures, "\n".join(failures)
    return [found[number] for number in range(PROCESSES)]


def _run_and_exit(work: Callable[[], object], *, as_nobody: bool) -> None:
    try:
        # Root may write everywhere; another user is already what this case needs.
        if as_nobody and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        work()
    except BaseException:  # noqa: BLE001  # the parent sees the code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
