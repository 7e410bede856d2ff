"""A daemon where there is none: started in the background, gone when nobody needs it."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from mount.daemon import memory
from mount.daemon.client import Daemon
from mount.daemon.home import Home
from mount.errors import DaemonUnreachable

START_SECONDS = 60.0
# So that the next command of the same minute finds it.
IDLE_SECONDS = 300.0


def ensure_daemon(home: Home) -> Daemon:
    """The node's daemon; started if none answers."""
    daemon = Daemon(home)
    with suppress(DaemonUnreachable):
        daemon.health()
        return daemon
    home.make()
    pid = _launch(home)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            daemon.health()
        except DaemonUnreachable as error:
            # Two that start at once: one of them takes the lock, and both are answered by it.
            if time.monotonic() > deadline:
                raise DaemonUnreachable(
                    f'no daemon came up within {START_SECONDS:.0f} s; look at "{home.log}"'
                ) from error
            time.sleep(0.02)  # no event tells that another process listens
        else:
            return daemon
        finally:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def revive_daemon(home: Home) -> Daemon:
    """The node's daemon; started where one was killed and left mounts behind."""
    daemon = Daemon(home)
    try:
        daemon.health()
    except DaemonUnreachable:
        if memory.load(home.memory).state.mounts:
            return ensure_daemon(home)
        raise
    return daemon


def _launch(home: Home) -> int:
    """A process of its own session, without our streams."""
    command = [sys.executable, "-P", "-m", "mount.cli", "daemon"]
    command += ["--state", str(home.path), "--socket", str(home.socket_path)]
    command += ["--idle-exit", str(IDLE_SECONDS), "--keep-mounts"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Its readiness is not that of the service which may have called us.
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return os.posix_spawn(
        command[0],
        command,
        environment,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(home.log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
