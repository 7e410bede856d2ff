"""The socket in a run's folder on which its agent hears of new leases, a cancel, and questions."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from datastores.contract.control_socket import SOCKET_NAME, peer_uid, read_line, socket_path
from datastores.errors import DatastoresError

if TYPE_CHECKING:
    from datastores.contract.control_messages import NewLeases, RunStatus

log = logging.getLogger(__name__)

# A caller that is slower than this, reading or writing, is left.
_TURN_SECONDS = 10.0
_MOST_AT_ONCE = 8
_ABSENT_SECONDS = 1.0


class Controlled(Protocol):
    """What can be told to a run; its methods are called from threads of the socket."""

    def status(self) -> RunStatus: ...

    def cancel(self) -> None: ...

    def renew(self, fresh: NewLeases) -> None:
        """Use these from now on; `WireError` when they are not the run's."""


@contextmanager
def listening(folder: Path, run: Controlled) -> Iterator[None]:
    """Answers on the folder's socket for the length of the block.

    A folder that takes no socket costs the control and not the run.
    """
    try:
        server = _listen(folder)
    except OSError as error:
        log.warning(
            'no control of the run: "%s" takes no socket: %s; its leases cannot be renewed',
            folder,
            error.strerror,
        )
        yield
        return
    desk = _Desk(server, run)
    desk.open()
    try:
        yield
    finally:
        (folder / SOCKET_NAME).unlink(missing_ok=True)
        desk.close()


def _listen(folder: Path) -> socket.socket:
    # Whoever works here holds the run's lock, so a socket that is there is a dead agent's.
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before the bind, whose file takes this mode: there is no moment in which others may ask.
        os.fchmod(server.fileno(), 0o600)
        with socket_path(folder) as path:
            server.bind(path)
        server.listen(_MOST_AT_ONCE)
    except BaseException:
        server.close()
        raise
    return server


class _Desk:
    """One thread accepts, one for each caller answers; callers beyond the bound wait outside."""

    def __init__(self, server: socket.socket, run: Controlled) -> None:
        self._server = server
        self._run = run
        self._seats = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._is_closed = threading.Event()
        self._acceptor = threading.Thread(
            target=self._accept, name="datastores-control", daemon=True
        )

    def open(self) -> None:
        self._acceptor.start()

    def close(self) -> None:
        self._is_closed.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(_TURN_SECONDS)
        self._server.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            if not self._seats.acquire(timeout=_ABSENT_SECONDS):
                continue
            try:
                link, _ = self._server.accept()
            except OSError as error:
                self._seats.release()
                if self._is_closed.is_set():
                    return
                log.warning("a caller of the control was lost: %s", error.strerror)
                self._is_closed.wait(_ABSENT_SECONDS)
                continue
            threading.Thread(
                target=self._serve, args=(link,), name="datastores-control", daemon=True
            ).start()

    def _serve(self, link: socket.socket) -> None:
        try:
            with link:
                link.settimeout(_TURN_SECONDS)
                if peer_uid(link) not in (0, os.geteuid()):
                    return
                line = read_line(link, time.monotonic() + _TURN_SECONDS)
                if line:
                    link.sendall(self._answer(line))
        except (OSError, DatastoresError) as error:
            log.info("a caller of the control was left: %s", error)
        finally:
            self._seats.release()

    def _answer(self, line: bytes) -> bytes:
        # Most runs are never asked anything: what is said is loaded with the first question.
        from datastores.contract.control_messages import (
            Answer,
            CancelRun,
            NewLeases,
            answer_line,
            request_of,
        )

        refusal = None
        try:
            match request_of(line):
                case NewLeases() as fresh:
                    self._run.renew(fresh)
                case CancelRun():
                    self._run.cancel()
        except DatastoresError as error:
            refusal = str(error)
        return answer_line(Answer(self._run.status(), refusal))
