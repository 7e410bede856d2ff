"""A daemon's life: taking over, serving, new code in its place, and the end."""

from __future__ import annotations

import enum
import logging
import os
import queue
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any, NoReturn

from datastores.value import Value
from mount.daemon import systemd
from mount.daemon.desk import Desk
from mount.daemon.engine import Engine
from mount.daemon.home import Home
from mount.daemon.server import ControlServer, MetricsServer
from mount.errors import MountError

log = logging.getLogger(__name__)

# Requests and deeds under way at an upgrade or at the end; a start of a host is the longest.
SETTLE_SECONDS = 90.0
REHEARSAL_SECONDS = 60.0
_LOOK_SECONDS = 1.0


class Word(enum.Enum):
    """What ends a daemon, or this life of it."""

    STOP = "stop"
    LEAVE = "leave"
    UPGRADE = "upgrade"
    IDLE = "idle"


class Settings(Value):
    """How one daemon works; `metrics` is an address, `idle_seconds` None means for ever.

    `again` is the command line that starts new code.
    """

    home: Home
    spools: Path
    again: tuple[str, ...]
    metrics: tuple[str, int] | None = None
    keeps_mounts: bool = False
    release_seconds: float = 60.0
    idle_seconds: float | None = None


class Inherited(Value):
    """What the code before an upgrade left open."""

    listener: int
    lock: int


def serve(settings: Settings, inherited: Inherited | None = None) -> int:
    """Serve until somebody ends it; the exit code."""
    home = settings.home
    home.make()
    lock = inherited.lock if inherited else home.lock()
    listener = socket.socket(fileno=inherited.listener) if inherited else home.listen()
    for fd in (lock, listener.fileno()):
        os.set_inheritable(fd, False)
    # A folder that goes away must not be held.
    os.chdir("/")
    words: queue.SimpleQueue[Word] = queue.SimpleQueue()
    _listen_for_signals(words, keeps_mounts=settings.keeps_mounts)
    engine = Engine.take_over(home, settings.spools)
    try:
        word = _work(settings, engine, listener, words)
        if word is Word.UPGRADE:
            _become(settings.again, listener, lock)
        return _end(word, engine, settings)
    finally:
        engine.close()
        listener.close()
        os.close(lock)


def _work(
    settings: Settings, engine: Engine, listener: socket.socket, words: queue.SimpleQueue[Word]
) -> Word:
    """Answer callers until a word ends it; nothing is half done then."""
    desk = Desk(engine, lambda text: words.put(Word(text)))
    numbers = MetricsServer(*settings.metrics, desk) if settings.metrics else None
    if numbers is not None:
        numbers.start()
        log.info("metrics on port %d", numbers.port)
    server = _open(listener, desk)
    systemd.notify("READY=1", f"STATUS=serving {settings.home.socket_path}")
    log.info("serving %s", settings.home.socket_path)
    while True:
        word = _next_word(words, engine, settings.idle_seconds)
        if word is None or (word is Word.UPGRADE and not _rehearse(settings.again)):
            continue
        # Callers that come from now on wait in the socket's queue.
        server.stop(SETTLE_SECONDS)
        if word is not Word.IDLE or engine.idle_seconds() > 0:
            break
        server = _open(listener, desk)
    if numbers is not None:
        numbers.stop()
    if word in {Word.UPGRADE, Word.LEAVE}:
        engine.settle(SETTLE_SECONDS)
    return word


def _open(listener: socket.socket, desk: Desk) -> ControlServer:
    server = ControlServer(listener, desk)
    server.start()
    return server


def _listen_for_signals(words: queue.SimpleQueue[Word], *, keeps_mounts: bool) -> None:
    ending = Word.LEAVE if keeps_mounts else Word.STOP

    def hear(number: int, _frame: Any) -> None:
        words.put(Word.UPGRADE if number == signal.SIGHUP else ending)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, hear)


def _next_word(
    words: queue.SimpleQueue[Word], engine: Engine, idle_seconds: float | None
) -> Word | None:
    try:
        return words.get(timeout=_LOOK_SECONDS)
    except queue.Empty:
        if idle_seconds is not None and engine.idle_seconds() > idle_seconds:
            return Word.IDLE
        return None


def _end(word: Word, engine: Engine, settings: Settings) -> int:
    systemd.notify("STOPPING=1")
    settings.home.socket_path.unlink(missing_ok=True)
    if word is not Word.STOP:
        log.info("ended; mounts go on")
        return 0
    if engine.release_all(settings.release_seconds):
        log.info("ended; everything is released")
        return 0
    log.error("ended, and not all mounts were released")
    return MountError.exit_code


def _rehearse(again: tuple[str, ...]) -> bool:
    """Whether the new code starts and reads the state; if not, the old one stays."""
    try:
        ran = subprocess.run(  # noqa: S603  # our own command line
            [*again, "--rehearse"],
            capture_output=True,
            text=True,
            timeout=REHEARSAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("no upgrade, the new code does not start: %s", error)
        return False
    if ran.returncode:
        log.error("no upgrade, the new code does not start: %s", ran.stderr[-2000:])
    return ran.returncode == 0


def _become(again: tuple[str, ...], listener: socket.socket, lock: int) -> NoReturn:
    systemd.notify(*systemd.reloading())
    for fd in (listener.fileno(), lock):
        os.set_inheritable(fd, True)
    command = [*again, "--inherited", str(listener.fileno()), str(lock)]
    log.info("new code takes over")
    os.execv(command[0], command)  # noqa: S606  # the interpreter itself, no shell
