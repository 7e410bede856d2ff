"""The conversation with the kernel: read a request, answer it.

One thread reads; what is known is answered there and then. Two reading threads halved the rate of
`stat`: they fight for the interpreter over work of a few microseconds. What has to wait goes to
the pool.

Profiled: 40 to 50 % of a request is the `writev` that wakes the caller, 15 to 30 % the `readv`.
A GETATTR costs this process 7 us, both system calls included. One buffer instead of two in the
answer changed nothing measurable.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import select
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mount.errors import MountRefused
from mount.fs.contract import Errand, WouldWait
from mount.fuse import layouts
from mount.fuse.defects import Defects, named
from mount.fuse.dispatch import Handler, Refusal
from mount.fuse.layouts import HEADER_IN, HEADER_OUT, Op
from mount.fuse.negotiation import Agreement, agree, init_reply
from mount.fuse.options import MountOptions
from mount.fuse.pool import Pool
from mount.fuse.request import Request

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
# A request was interrupted between its arrival and our read, or nothing was there after all.
TRY_AGAIN = {errno.EINTR, errno.EAGAIN, errno.ENOENT}
# Unmounted, or aborted.
OVER = {errno.ENODEV, errno.ECONNABORTED}
NOBODY_WAITS = TRY_AGAIN | OVER
# Requests whose body begins with the handle that they work with.
WITH_HANDLE = {Op.READ, Op.WRITE, Op.FLUSH, Op.FSYNC, Op.READDIR, Op.READDIRPLUS}
# Larger requests take their buffer along to the pool; smaller ones are copied.
COPIED_BYTES = 8192
SPARE_BUFFERS = 16
# An errand that takes longer is left to a thread; the store's own patience ends before.
LONGEST_ERRAND_SECONDS = 600.0


@dataclass(slots=True)
class Counters:
    """What a session did. `requests` and `waited` belong to the reading thread."""

    requests: int = 0
    waited: int = 0
    by_op: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(64), 0))


class Session:
    """Serves one connection until it is unmounted."""

    def __init__(
        self,
        fd: int,
        agreement: Agreement,
        handlers: dict[int, Handler],
        withdraw: Callable[[Request, Buffer], None],
        pool: Pool,
        errand: Callable[[Request], Errand | None] = lambda _: None,
    ) -> None:
        self.fd = fd
        self.agreement = agreement
        self.handlers = {**handlers, Op.INTERRUPT: self._interrupt}
        self.refusals = {
            int(op): handler.number
            for op, handler in handlers.items()
            if isinstance(handler, Refusal)
        }
        self.withdraw = withdraw
        self.pool = pool
        self.errand = errand
        self.counters = Counters()
        self.defects = Defects()
        # The reading thread is in a handler; a watchdog compares this with `counters.requests`.
        self.is_answering = False
        # By descriptor, with the question that waits; of the reading thread.
        self._errands: dict[int, tuple[Errand, Request, float]] = {}
        self._poll = select.poll()
        self._lock = threading.Lock()
        self._spare: list[bytearray] = []  # append and pop are atomic
        # Both under the lock: requests in the pool, and what waits for those whose caller died.
        self._pooled: dict[int, Request] = {}
        self._abandoned: dict[int, list[Request]] = {}

    def serve(self) -> None:
        """Answer until the mount is gone."""
        os.set_blocking(self.fd, True)
        fd, counters, by_op = self.fd, self.counters, self.counters.by_op
        readv, unpack, refusals = os.readv, HEADER_IN.unpack_from, self.refusals
        header = HEADER_IN.size
        buffer = self._buffer()
        view = memoryview(buffer)
        self._poll.register(fd, select.POLLIN)
        while True:
            self.is_answering = False
            if self._errands and not self._run_errands():
                continue
            try:
                length = readv(fd, (buffer,))
            except OSError as error:
                if _is_end(error):
                    return
                continue
            if length < header:
                log.error("the kernel sent %d bytes, less than a header", length)
                continue
            self.is_answering = True
            counters.requests += 1
            _, op, unique, node, _, _, pid, _, _ = unpack(buffer)
            by_op[op] = by_op.get(op, 0) + 1
            if op in refusals:
                self._refuse(unique, refusals[op])
                continue
            request = Request(op, unique, node, pid, view[header:length])
            if self._abandoned and self._comes_too_early(request):
                continue
            if self._answer_now(request):
                continue
            counters.waited += 1
            with self._lock:
                self._pooled[unique] = request
            if not self._is_sent_for(request) and self._takes_along(request, buffer):
                buffer = self._buffer()
                view = memoryview(buffer)

    def _takes_along(self, request: Request, buffer: bytearray) -> bool:
        """Have a thread of the pool answer; whether it takes the buffer with it."""
        if len(request.body) > COPIED_BYTES:
            self.pool.submit(functools.partial(self._answer_and_keep, request, buffer))
            return True
        request.body = memoryview(bytes(request.body))
        self.pool.submit(functools.partial(self._answer, request))
        return False

    def _is_sent_for(self, request: Request) -> bool:
        """Whether what the question waits for comes without a thread of ours."""
        # One thread with errands: 0.45 ms of CPU for a file of 100 KiB that is not here; eight
        # threads that wait for processes 0.8, eight that fetch 1.5: they hand over the interpreter.
        errand = self.errand(request)
        if errand is None:
            return False
        request.body = memoryview(bytes(request.body))
        self._errands[errand.fileno()] = errand, request, time.monotonic()
        self._poll.register(errand.fileno(), select.POLLIN)
        return True

    def _run_errands(self) -> bool:
        """Answer those whose errand is over; whether the kernel has a question, too."""
        ready = {number for number, _ in self._poll.poll(1000)}
        late = time.monotonic() - LONGEST_ERRAND_SECONDS
        over = [
            number
            for number, (_, _, since) in self._errands.items()
            if number in ready or since < late
        ]
        for number in over:
            errand, request, _ = self._errands.pop(number)
            self._poll.unregister(number)
            self.is_answering = True
            try:
                errand.finish()
            except Exception as error:  # noqa: BLE001 - the open itself may do better
                self._number(request, error)
            if self._answer_now(request):
                self._settle(request.unique)
            else:
                self.pool.submit(functools.partial(self._answer, request))
        return self.fd in ready

    def _answer_now(self, request: Request) -> bool:
        handler = self.handlers.get(request.op)
        if handler is None:
            self._refuse(request.unique, errno.ENOSYS)
            return True
        try:
            answer = handler(request, False)
        except WouldWait:
            return False
        except Exception as error:  # noqa: BLE001 - a file system's defect is one failed call
            self._refuse(request.unique, self._number(request, error))
            return True
        if answer is not None:
            self._reply(request, answer)
        return True

    def _answer(self, request: Request) -> None:
        try:
            answer = self.handlers[request.op](request, True)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(request.unique, self._number(request, error))
            return
        finally:
            self._settle(request.unique)
        if answer is not None:
            self._reply(request, answer)

    def _answer_and_keep(self, request: Request, buffer: bytearray) -> None:
        self._answer(request)
        try:
            request.body.release()
        except BufferError:
            return  # the file system kept a view: a defect, told already; leave it its bytes
        if len(self._spare) < SPARE_BUFFERS:
            self._spare.append(buffer)

    def _settle(self, unique: int) -> None:
        with self._lock:
            self._pooled.pop(unique, None)
            late = self._abandoned.pop(unique, [])
        for request in late:
            self._answer(request)

    def _interrupt(self, request: Request, _wait: bool) -> None:
        """A caller in the pool got a signal; if it is dying, it shall not wait for the network.

        Others go on: programs do not expect EINTR from a file. The answer that comes later finds
        nobody and is withdrawn.
        """
        (unique,) = layouts.HANDLE_IN.unpack_from(request.body)
        with self._lock:
            pooled = self._pooled.get(unique)
        if pooled is None or not _is_dying(pooled.pid):
            return
        with self._lock:
            if unique in self._pooled:
                self._abandoned.setdefault(unique, [])
        self._refuse(unique, errno.EINTR)

    def _comes_too_early(self, request: Request) -> bool:
        """Whether a handle is given back that an abandoned request still works with."""
        if request.op not in {Op.RELEASE, Op.RELEASEDIR}:
            return False
        handle = _handle(request)
        with self._lock:
            for unique, late in self._abandoned.items():
                pooled = self._pooled[unique]
                if pooled.op in WITH_HANDLE and _handle(pooled) == handle:
                    request.body = memoryview(bytes(request.body))
                    late.append(request)
                    return True
        return False

    def _reply(self, request: Request, answer: Buffer) -> None:
        size = len(answer) if isinstance(answer, bytes) else memoryview(answer).nbytes
        header = HEADER_OUT.pack(HEADER_OUT.size + size, 0, request.unique)
        try:
            os.writev(self.fd, (header, answer))
        except OSError as error:
            # ENOENT: nobody waits for it any more.
            if error.errno not in NOBODY_WAITS:
                log.warning(
                    "the kernel refused an answer to %s: %s", named(request.op), error.strerror
                )
                self._refuse(request.unique, errno.EIO)
            self.withdraw(request, answer)

    def _refuse(self, unique: int, number: int) -> None:
        try:
            os.write(self.fd, HEADER_OUT.pack(HEADER_OUT.size, -number, unique))
        except OSError as error:
            if error.errno not in NOBODY_WAITS:
                log.warning("the kernel refused an error: %s", error.strerror)

    def _number(self, request: Request, error: Exception) -> int:
        return self.defects.number_for(error, request.op)

    def _buffer(self) -> bytearray:
        try:
            return self._spare.pop()
        except IndexError:
            return bytearray(self.agreement.buffer_bytes)


def _is_end(error: OSError) -> bool:
    """Whether there is nothing more to read; False if there may be."""
    if error.errno not in TRY_AGAIN | OVER:
        raise error
    return error.errno in OVER


def handshake(fd: int, mountpoint: str, options: MountOptions) -> Agreement:
    """What kernel and adapter agreed on; INIT is always the first request."""
    buffer = bytearray(max(layouts.MIN_READ_BUFFER, options.request_bytes + 4096))
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(HANDSHAKE_SECONDS * 1000):
        length = os.readv(fd, [buffer])
        _, op, unique, *_ = HEADER_IN.unpack_from(buffer)
        if op != Op.INIT:
            raise MountRefused(mountpoint, "the kernel began without INIT; mount it anew")
        agreement = agree(memoryview(buffer)[HEADER_IN.size : length], options)
        if agreement is None:
            break
        answer = init_reply(agreement)
        os.writev(fd, [HEADER_OUT.pack(HEADER_OUT.size + len(answer), 0, unique), answer])
        return agreement
    raise MountRefused(mountpoint, "the kernel's FUSE is older than Linux 4.20; download instead")


def _handle(request: Request) -> int:
    handle: int = layouts.HANDLE_IN.unpack_from(request.body)[0]
    return handle


def _is_dying(thread: int) -> bool:
    """Whether SIGKILL is pending; the kernel adds it to whatever signal ends a process."""
    try:
        status = Path(f"/proc/{thread}/status").read_text()
    except OSError:
        return False
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)", status, re.MULTILINE)
    return any(int(mask, 16) & 1 << (signal.SIGKILL - 1) for mask in pending)
