"""Small files come into the cache through forked processes when many are opened at once.

Eight threads of one interpreter that each fetch a file hand it to each other at every system call:
1.45 ms of CPU for a file of 100 KiB, where one thread alone needs 0.45. So the threads of the mount
ask other processes, and wait without the interpreter.

A fetcher brings one version into the node's cache or says that it did not; then it is fetched here,
where errors are told. It is forked, since the store's credential cannot be sent; it begins when
files are opened in quick succession, is exchanged every minute, because renewed leases reach it in
no other way, and ends when the mount does.
"""

from __future__ import annotations

import logging
import marshal
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from datastores.errors import DatastoresError
from datastores.storage.contract import Store
from datastores.transfer.children import Child, close_inherited, possible_children
from datastores.value import Value
from mount.cache.contract import Cache, CachedFile, CacheKey, NoRoom, PartialFile
from mount.fs.contract import Kind
from mount.fs.counters import Counters
from mount.fs.facts import Fact
from mount.fs.fetch import LONGEST_WAIT_SECONDS, fetch_into, fetch_whole

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger(__name__)

# So many files within so many seconds are worth two processes, which cost 20 ms of CPU.
WORTH_IT = 32
WITHIN_SECONDS = 2.0
RENEW_SECONDS = 60.0
# As many as the threads that may wait for files.
LINES = 8
# When the cache had no room, files are fetched by the process that can keep them in memory.
REST_SECONDS = 10.0
# A range counts for as many files: after four of 8 MiB others follow.
RANGE_WEIGHT = 8
# So often a fetcher says how far it is, and a reader may go on.
TELL_BYTES = 1 << 20
_TICK = struct.pack("@ll", 0, 500_000)
_LONGEST_MESSAGE = 16 * 1024
_END_SECONDS = 5.0

BROUGHT, LEFT, NO_ROOM = 1, 2, 3
COUNTED = ("requests", "bytes_fetched", "flawed_bodies")


class Fetchers:
    """The processes that fetch for one mount; any thread may ask."""

    def __init__(self, store: Store, cache: Cache, most: int, counters: Counters) -> None:
        self._store = store
        self._cache = cache
        self._most = most
        self._counters = counters
        self._count = possible_children() if store.features.survives_fork else 0
        self._lock = threading.Lock()
        # All under the lock.
        self._asked: deque[float] = deque(maxlen=WORTH_IT)
        self._team: _Team | None = None
        self._teams: list[_Team] = []
        self._rests_until = 0.0
        self._is_over = self._count == 0

    def bring(self, wanted: CacheKey, fact: Fact) -> CachedFile | None:
        """The file from the cache, where a fetcher has put it; None if it is to be fetched here."""
        asked = self.begin(wanted, fact)
        return asked.answer() if asked else None

    def begin(self, wanted: CacheKey, fact: Fact) -> Asked | None:
        """A file that a fetcher brings meanwhile; None if it is to be fetched here."""
        line = self._line()
        if line is None:
            return None
        line.say(marshal.dumps((wanted.key, wanted.version, wanted.size, fact.md5)))
        return Asked(self, line, wanted)

    def begin_range(self, wanted: CacheKey, start: int, end: int) -> Asked | None:
        """Whole blocks of a large file that a fetcher brings meanwhile; None as above."""
        line = self._line(RANGE_WEIGHT)
        if line is None:
            return None
        line.say(marshal.dumps((wanted.key, wanted.version, wanted.size, start, end)))
        return Asked(self, line, wanted)

    def note(self, counts: Sequence[int]) -> None:
        """What a fetcher counted."""
        for name, count in zip(COUNTED, counts, strict=True):
            if count:
                self._counters.add(name, count)

    def rest(self) -> None:
        """The cache had no room."""
        with self._lock:
            self._rests_until = time.monotonic() + REST_SECONDS

    def take(self, wanted: CacheKey, answer: bytes) -> CachedFile | None:
        """What became of a question."""
        outcome, *counts = marshal.loads(answer)  # noqa: S302 - of our own child
        self.note(counts)
        if outcome == NO_ROOM:
            self.rest()
        return self._cache.arrived(wanted) if outcome == BROUGHT else None

    def close(self) -> None:
        """End the processes; who waits for one is told that it did not bring the file."""
        with self._lock:
            self._is_over = True
            self._team = None
            teams, self._teams = self._teams, []
        for team in teams:
            team.end()

    def _line(self, weight: int = 1) -> _Line | None:
        with self._lock:
            now = time.monotonic()
            if self._is_over or now < self._rests_until:
                return None
            self._asked.extend([now] * weight)
            is_worth_it = len(self._asked) == WORTH_IT and now - self._asked[0] < WITHIN_SECONDS
            if self._team is None and is_worth_it:
                self._fork(now)
            return self._team.take() if self._team else None

    def _fork(self, now: float) -> None:
        try:
            team = _Team.fork(self._count, self._store, self._cache, self._most)
        except OSError as error:
            log.info("small files are fetched by one process: %s", error.strerror)
            self._rests_until = now + RENEW_SECONDS
            return
        self._team = team
        self._teams = [one for one in self._teams if not one.has_ended] + [team]
        timer = threading.Timer(RENEW_SECONDS, self._retire, [team])
        timer.daemon = True
        team.timer = timer
        timer.start()

    def _retire(self, team: _Team) -> None:
        with self._lock:
            if self._team is team:
                self._team = None
        team.retire()


class Asked:
    """A question that is on its way; it has to be taken leave of with `answer`."""

    __slots__ = ("_fetchers", "_line", "_wanted", "since")

    def __init__(self, fetchers: Fetchers, line: _Line, wanted: CacheKey) -> None:
        self._fetchers = fetchers
        self._line = line
        self._wanted = wanted
        self.since = time.monotonic()

    def fileno(self) -> int:
        """Readable when the answer is here, or will never be."""
        return self._line.fileno()

    def answer(self) -> CachedFile | None:
        """Waits for the answer; the file, or None if it is to be fetched here."""
        try:
            answer = self._line.hear(self.since + LONGEST_WAIT_SECONDS)
        finally:
            self._line.team.give_back(self._line)
        return self._fetchers.take(self._wanted, answer) if answer else None

    def landings(self, end: int) -> Iterator[int]:
        """How far whole blocks of a range to `end` are in the partial file, as they come in."""
        try:
            while answer := self._line.hear(self.since + LONGEST_WAIT_SECONDS):
                landed = marshal.loads(answer)  # noqa: S302 - of our own child
                # Until the last word there is more to come, which is no answer to another question.
                self._line.is_broken = isinstance(landed, int)
                if not isinstance(landed, int):
                    outcome, *counts = landed
                    self._fetchers.note(counts)
                    if outcome == NO_ROOM:
                        self._fetchers.rest()
                    if outcome == BROUGHT:
                        yield end
                    return
                yield landed
        finally:
            self._line.team.give_back(self._line)


class _Team:
    """Processes that were forked together, and the lines to them that nobody uses."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        # Closing these ends the children, whatever they are doing.
        self._lives: list[socket.socket] = []
        self._lock = threading.Lock()
        # Both under the lock.
        self._idle: deque[_Line] = deque()
        self._busy = 0
        self.is_over = False
        self.has_ended = False
        self.timer: threading.Timer | None = None

    @classmethod
    def fork(cls, count: int, store: Store, cache: Cache, most: int) -> _Team:
        team = cls()
        try:
            lines = [team._add(store, cache, most) for _ in range(count)]
        except OSError:
            team.end()
            raise
        # Neighbours belong to different processes.
        team._idle.extend(line for pair in zip(*lines, strict=True) for line in pair)
        return team

    def take(self) -> _Line | None:
        """A line of one's own; None when all are in use, or broken."""
        with self._lock:
            if self.is_over or not self._idle:
                return None
            self._busy += 1
            return self._idle.popleft()

    def give_back(self, line: _Line) -> None:
        with self._lock:
            self._busy -= 1
            if not line.is_broken:
                # The one used last is the next, so that few processes serve few readers.
                self._idle.appendleft(line)
            is_last = self.is_over and not self._busy
        if line.is_broken:
            line.close()
        if is_last:
            self.end()

    def retire(self) -> None:
        """End when the last one has his answer."""
        with self._lock:
            self.is_over = True
            is_last = not self._busy
        if is_last:
            self.end()

    def end(self) -> None:
        """End now."""
        with self._lock:
            self.is_over = True
            idle, self._idle = self._idle, deque()
            lives, self._lives = self._lives, []
        if self.timer:
            self.timer.cancel()
        for life in lives:
            life.close()
        for line in idle:
            line.close()
        for child in self._children:
            child.end(_END_SECONDS)
        self.has_ended = True

    def _add(self, store: Store, cache: Cache, most: int) -> Sequence[_Line]:
        life, theirs = socket.socketpair()
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(LINES)]
        ours = [*self._lives, life, *(line for line, _ in pairs)]

        def serve() -> None:
            for one in ours:
                one.close()
            _Fetcher(store, cache, most).serve(theirs, [line for _, line in pairs])

        self._lives.append(life)
        lines = [_Line(self, line) for line, _ in pairs]
        try:
            self._children.append(Child.fork(serve))
        except OSError:
            for line in lines:
                line.close()
            raise
        finally:
            theirs.close()
            for _, other in pairs:
                other.close()
        return lines


class _Line:
    """One question and its answer at a time."""

    def __init__(self, team: _Team, ours: socket.socket) -> None:
        self.team = team
        self.is_broken = False
        self._ours = ours
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TICK)

    def fileno(self) -> int:
        return self._ours.fileno()

    def say(self, question: bytes) -> None:
        """Ask; whether that worked is told by the answer."""
        try:
            self._ours.send(question)
        except OSError as error:
            log.debug("a fetcher has gone: %s", error.strerror)

    def hear(self, deadline: float) -> bytes:
        """The answer; nothing when there will be none, and the line is broken."""
        self.is_broken = True
        try:
            while time.monotonic() < deadline:
                try:
                    answer = self._ours.recv(_LONGEST_MESSAGE)
                except (BlockingIOError, InterruptedError):
                    continue
                self.is_broken = not answer
                return answer
        except OSError as error:
            log.debug("a fetcher has gone: %s", error.strerror)
        return b""

    def close(self) -> None:
        self._ours.close()


class _Fetcher(Value):
    """In a child that was just forked: what it fetches with."""

    store: Store
    cache: Cache
    most: int

    def serve(self, life: socket.socket, lines: Sequence[socket.socket]) -> None:
        """Answer on every line until the parent closes the one that stands for its life."""
        # What the parent has open ends with the parent: the kernel's device, files that are held in
        # the cache, files on the mount itself.
        close_inherited(_is_a_file)
        cache = self.cache.again()
        for line in lines:
            threading.Thread(target=self._answer, args=(line, cache), daemon=True).start()
        life.recv(1)
        # Room that was taken ahead and not used is given back.
        cache.close()

    def _answer(self, line: socket.socket, cache: Cache) -> None:
        try:
            # A line that ends tells the one who waits at its other end.
            while question := line.recv(_LONGEST_MESSAGE):
                key, version, size, *rest = marshal.loads(question)  # noqa: S302 - of our own parent
                counters = Counters()
                if len(rest) == 1:
                    fact = Fact(Kind.FILE, size, version, None, rest[0])
                    outcome = self._bring(cache, key, fact, counters)
                else:
                    wanted = CacheKey(self.store.identity, key, version, size)
                    outcome = self._bring_range(_Blocks(cache, wanted, counters, line), *rest)
                counts = [int(counters.get(name)) for name in COUNTED]
                line.send(marshal.dumps((outcome, *counts)))
        except OSError as error:
            log.debug("the mount has gone: %s", error.strerror)
        finally:
            line.close()

    def _bring(self, cache: Cache, key: str, fact: Fact, counters: Counters) -> int:
        try:
            info, data = fetch_whole(self.store, key, fact, self.most, counters)
            if data is None or info.version is None or info.version != fact.version:
                return LEFT
            wanted = CacheKey(self.store.identity, key, info.version, len(data))
            cache.put(wanted, data).close()
        except NoRoom:
            return NO_ROOM
        except (DatastoresError, OSError) as error:
            log.debug("left to the mount: %s", error)
            return LEFT
        return BROUGHT

    def _bring_range(self, blocks: _Blocks, start: int, end: int) -> int:
        try:
            with blocks.open():
                fetch_into(self.store, blocks.wanted, start, end, blocks, blocks)
        except NoRoom:
            return NO_ROOM
        except (DatastoresError, OSError) as error:
            log.debug("left to the mount: %s", error)
            return LEFT
        return BROUGHT


class _Blocks:
    """Where a fetcher puts a range, and whom it tells."""

    def __init__(
        self, cache: Cache, wanted: CacheKey, counters: Counters, line: socket.socket
    ) -> None:
        self.wanted = wanted
        self._cache = cache
        self._counters = counters
        self._line = line
        self._partial: PartialFile | None = None
        self._untold = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        self._partial = self._cache.fill(self.wanted)
        try:
            yield
        finally:
            self._partial.close()

    @property
    def block_bytes(self) -> int:
        assert self._partial
        return self._partial.block_bytes

    def put(self, _flight: _Blocks, start: int, *pieces: Buffer) -> None:
        assert self._partial
        size = sum(memoryview(piece).nbytes for piece in pieces)
        self._counters.add("bytes_fetched", size)
        self._partial.write(start, *pieces)
        if self._partial.missing(start, size):
            raise NoRoom  # refused by the disk; what was written before is there
        self._untold += size
        if self._untold >= TELL_BYTES:
            self._untold = 0
            self._line.send(marshal.dumps(start + size))

    def count_request(self) -> None:
        self._counters.add("requests")


def _is_a_file(path: str) -> bool:
    return path == "/dev/fuse" or (path[0] == "/" and not path.startswith(("/dev/", "/proc/")))
