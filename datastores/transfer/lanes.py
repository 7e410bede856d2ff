"""Small files through several processes.

One interpreter runs one thread at a time, and every system call of a small file hands it over:
5,000 x 100 KiB cost 2.0 CPU-s with one thread and 3.9 with sixteen. Processes do not share an
interpreter. They are forked, because they need the store as it is here, with its credential, which
cannot be sent; and they are few, because each has threads of its own while the network is slow.

A lane decides nothing. It is handed files, brings what it can and says which those were; the others
are fetched here, where failures are counted, explained and tried again.
"""

from __future__ import annotations

import itertools
import logging
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from datastores.transfer import lane
from datastores.transfer.children import Child, possible_children
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.transfer.planning import Fetch
    from datastores.transfer.session import Session

log = logging.getLogger(__name__)

# Before so many files have been found another process is not worth its start, 3 ms.
WORTH_IT = 256
# Then they are forked anew: renewed leases reach a lane in no other way.
RENEW_SECONDS = 60.0
# A lane that says nothing for longer is stuck: a store's own patience ends before.
SILENCE_SECONDS = 600.0
# So often a thread that waits for a lane looks whether the transfer goes on and the lane lives.
_TICK = struct.pack("@ll", 0, 500_000)


def possible_lanes(session: Session) -> int:
    """How many lanes this download may have."""
    return possible_children() if session.store.features.survives_fork else 0


class Handed(Value):
    """Files that were handed to a lane, and what became of each."""

    fetches: Sequence[Fetch]
    answer: lane.Answer


class Lanes:
    """The processes of one download; any thread may hand files to them."""

    def __init__(self, session: Session, count: int) -> None:
        self._session = session
        self.count = count
        self._lock = threading.Lock()
        # All under the lock.
        self._working: list[_Lane] = []
        self._retired: list[_Lane] = []
        self._forked_at = 0.0
        self._is_over = False

    def fetch(self, fetches: Sequence[Fetch]) -> Handed:
        """Hand these files over; what is returned are these or others that were handed over.

        As many come back as were handed over, each once, whatever happens to a lane.
        """
        one = self._enter()
        if one is None:
            return Handed(fetches, lane.NOTHING)
        try:
            return one.fetch(fetches)
        finally:
            self._leave(one)

    def close(self) -> None:
        """End the processes; a file that one is writing is left out."""
        with self._lock:
            self._is_over = True
            lanes = [*self._working, *self._retired]
            self._working, self._retired = [], []
        for one in lanes:
            one.hang_up()
        for one in lanes:
            one.end(self._session.options.limits.stop_seconds)

    def _enter(self) -> _Lane | None:
        with self._lock:
            if self._is_over:
                return None
            if not self._working or time.monotonic() - self._forked_at > RENEW_SECONDS:
                self._fork_anew()
            sound = [one for one in self._working if not one.is_broken]
            if not sound:
                return None
            least = min(sound, key=lambda one: one.busy)
            least.busy += 1
            return least

    def _leave(self, one: _Lane) -> None:
        with self._lock:
            one.busy -= 1
            over = one in self._retired and not one.busy
            if over:
                self._retired.remove(one)
        if over:
            one.hang_up()
            one.end(self._session.options.limits.stop_seconds)

    def _fork_anew(self) -> None:
        self._forked_at = time.monotonic()
        # Who is busy ends when the last one leaves; nobody leaves those who are idle.
        for one in self._working:
            if one.busy:
                self._retired.append(one)
            else:
                one.hang_up()
                one.end(self._session.options.limits.stop_seconds)
        self._working = []
        try:
            for _ in range(self.count):
                self._working.append(_Lane.fork(self._session))
        except OSError as error:
            # No more processes, memory or descriptors: the rest is fetched here.
            log.info("small files are fetched by one process: %s", error.strerror)
            self._is_over = not self._working
        crew, count = self._session.crew, max(1, len(self._working))
        self._session.budget.share(count, crew.quickest_seconds)


class _Lane:
    """One process, and the files it was handed."""

    def __init__(self, session: Session, child: Child, line: socket.socket) -> None:
        self._session = session
        self._child = child
        self._line = line
        self._numbers = itertools.count()
        # Putting in and taking out are atomic.
        self._handed: dict[int, Sequence[Fetch]] = {}
        self._heard_at = time.monotonic()
        self.is_broken = False
        # Under the lock of the lanes.
        self.busy = 0

    @classmethod
    def fork(cls, session: Session) -> _Lane:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def serve() -> None:
            ours.close()
            lane.serve(session, theirs)

        try:
            child = Child.fork(serve)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TICK)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TICK)
        return cls(session, child, ours)

    def fetch(self, fetches: Sequence[Fetch]) -> Handed:
        # Who waits takes whichever answer comes next: as many come as are waited for, and nobody
        # has to be woken by another thread.
        number = next(self._numbers)
        self._handed[number] = fetches
        try:
            question = lane.question(number, fetches)
            while not self.is_broken and not self._say(question):
                pass
            while not self.is_broken:
                if (message := self._hear()) is None:
                    continue
                answered, answer = lane.answered(message)
                # Said before the process died, and taken back by a thread that noticed the death.
                if (its := self._handed.pop(answered, None)) is not None:
                    return Handed(its, answer)
        except OSError as error:
            log.info("small files are fetched by one process less: %s", error.strerror)
            self.is_broken = True
        return self._take_back()

    def hang_up(self) -> None:
        """Have the process end; also where somebody else was forked and holds this line, too."""
        try:
            self._line.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("a lane had gone: %s", error.strerror)

    def end(self, seconds: float) -> None:
        """Wait for the end of the process, and make it end when the time is over."""
        self._line.close()
        self._child.end(seconds)

    def _say(self, question: bytes) -> bool:
        """Whether the lane has been told; it may have too much to do for the moment."""
        try:
            self._line.send(question)
        except (BlockingIOError, InterruptedError):
            self._look_after()
            return False
        return True

    def _hear(self) -> bytes | None:
        """The next message, or None when there is none yet."""
        try:
            message = self._line.recv(lane.LONGEST_ANSWER)
        except (BlockingIOError, InterruptedError):
            self._look_after()
            return None
        if not message:
            self.is_broken = True
            return None
        self._heard_at = time.monotonic()
        return message

    def _look_after(self) -> None:
        self._session.crew.check()
        if time.monotonic() - self._heard_at > SILENCE_SECONDS or self._child.is_gone():
            self.is_broken = True

    def _take_back(self) -> Handed:
        try:
            return Handed(self._handed.popitem()[1], lane.NOTHING)
        except KeyError:
            return Handed((), lane.NOTHING)
