"""One process that brings small files for another one: messages, and the forked child itself."""

from __future__ import annotations

import marshal
import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from datastores.storage.contract import ObjectInfo
from datastores.transfer.children import close_inherited
from datastores.transfer.crew import Crew, Stopped
from datastores.transfer.disk import JOURNAL, PART
from datastores.transfer.hosts import budget_for
from datastores.transfer.ledger import Ledger
from datastores.transfer.planning import Fetch
from datastores.transfer.session import Session
from datastores.transfer.small_file import fetch_small
from datastores.transfer.watcher import Silent
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.transfer.options import Limits

# The bytes that a file brought, or why it was left alone.
Outcome: TypeAlias = int | str

LONGEST_ANSWER = 16 * 1024
# Sixteen files with the longest keys, names and paths there are.
_LONGEST_QUESTION = 192 * 1024
# As many requests to one host as a process makes.
_MOST_THREADS = 192
# So often an idle child looks whether its parent is still there: others may hold the line open.
_TICK = struct.pack("@ll", 5, 0)


class Answer(Value):
    """What became of the files of one question, in their order; those beyond are for the parent."""

    outcomes: Sequence[Outcome]
    # Of the processor, since the answer before.
    spent_seconds: float = 0.0
    # How often the host asked for patience since then.
    refusals: int = 0


NOTHING = Answer(())


def question(number: int, fetches: Sequence[Fetch]) -> bytes:
    """Files as a lane is told of them."""
    files = [
        (
            fetch.info.key,
            fetch.info.size,
            fetch.info.version,
            fetch.info.modified_ns,
            fetch.name,
            fetch.path,
            fetch.origin,
        )
        for fetch in fetches
    ]
    return marshal.dumps((number, files))


def answered(message: bytes) -> tuple[int, Answer]:
    """The number of a question and its answer."""
    number, outcomes, spent, refusals = marshal.loads(message)  # noqa: S302 - of our own child
    return number, Answer(outcomes, spent, refusals)


def serve(session: Session, line: socket.socket) -> None:
    """In a child that was just forked: fetch what the parent asks for until it hangs up."""
    # A file that the parent gives up must not stay locked by a copy of its descriptor.
    close_inherited(lambda path: path.endswith((PART, JOURNAL)))
    _Server(session, line).serve()


class _Noted(Silent):
    """What the last file came to."""

    def __init__(self) -> None:
        self.skipped_for: str | None = None

    def skipped(self, name: str, why: str) -> None:  # noqa: ARG002 - one file at a time
        self.skipped_for = why


class _Server:
    """Threads that take questions off one line; there is always one that waits for the next."""

    def __init__(self, session: Session, line: socket.socket) -> None:
        self._given = session
        self._line = line
        self._parent = os.getppid()
        self._budget = budget_for(session.store.identity)
        self._limits: Limits = session.options.limits
        self._crew = Crew(self._budget, self._limits)
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        # All under the lock.
        self._threads = self._idle = 0
        self._spent = time.process_time()
        self._refusals = 0

    def serve(self) -> None:
        self._given.records.renew()
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TICK)
        self._start()
        self._is_over.wait()
        # Files under way are given up and leave nothing behind.
        self._crew.stop()
        deadline = time.monotonic() + self._limits.stop_seconds / 2
        while self._threads and time.monotonic() < deadline:
            time.sleep(0.01)

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        noted = _Noted()
        given = self._given
        session = Session(
            given.store,
            given.target,
            given.options,
            Ledger(noted),
            given.records,
            self._crew,
            self._budget,
            given.space,
        )
        try:
            while message := self._hear():
                number, files = marshal.loads(message)  # noqa: S302 - of our own parent
                outcomes = [] if self._is_over.is_set() else _fetch_all(session, noted, files)
                self._line.send(self._answer(number, outcomes))
        except (OSError, Stopped):
            pass  # the parent has gone, or gives up
        finally:
            with self._lock:
                self._threads -= 1
            self._is_over.set()

    def _hear(self) -> bytes:
        with self._lock:
            self._idle += 1
        message = b""
        while True:
            try:
                message = self._line.recv(_LONGEST_QUESTION)
                break
            except (BlockingIOError, InterruptedError):
                if os.getppid() != self._parent or self._is_over.is_set():
                    break
        with self._lock:
            self._idle -= 1
            if message and not self._idle and self._threads < _MOST_THREADS:
                self._start()
        return message

    def _answer(self, number: int, outcomes: list[Outcome]) -> bytes:
        with self._lock:
            spent, self._spent = self._spent, time.process_time()
            refusals, self._refusals = self._refusals, self._budget.refusals
            told = (number, outcomes, self._spent - spent, self._refusals - refusals)
        return marshal.dumps(told)


def _fetch_all(
    session: Session, noted: _Noted, files: Sequence[tuple[str, int, str, int, str, str, str]]
) -> list[Outcome]:
    """What each file came to; a failure is the parent's to explain, and so is the rest then."""
    outcomes: list[Outcome] = []
    for key, size, version, modified_ns, name, path, origin in files:
        noted.skipped_for = None
        fetch = Fetch(ObjectInfo(key, size, modified_ns, version), name, path, origin)
        try:
            moved = fetch_small(session, fetch)
        except Exception:  # noqa: BLE001 - the parent meets it again, and tells
            break
        outcomes.append(moved if noted.skipped_for is None else noted.skipped_for)
    return outcomes
