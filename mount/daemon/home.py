"""The folder of a node's daemon: its socket, its lock, its memory, and the folders of its hosts."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datastores.value import Value
from mount.errors import MountError

VARIABLE = "DATASTORES_AGENT_STATE"
SYSTEM = Path("/run/datastores-agent")
_SOCKET = "control"
_BACKLOG = 256


def default_home(system: Path = SYSTEM) -> Path:
    """`$DATASTORES_AGENT_STATE`, or a folder of this user that the next boot need not find.

    For root, the machine's own daemon counts as his where he has no other: a service has no
    session, and root's shell often does.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    mine = _of_session(system)
    if os.getuid() == 0 and not Home.at(mine).is_taken and Home.at(system).is_taken:
        return system
    return mine


def _of_session(system: Path) -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "datastores-agent"
    if os.getuid() == 0:
        return system
    return Path.home() / ".cache" / "datastores" / "agent"


class Home(Value):
    """One daemon's files; the folder is its owner's alone."""

    path: Path
    # Elsewhere only where somebody asked for it.
    socket_path: Path

    @classmethod
    def at(cls, path: Path, socket_path: Path | None = None) -> Home:
        return cls(path, socket_path or path / _SOCKET)

    @property
    def memory(self) -> Path:
        return self.path / "state.json"

    @property
    def log(self) -> Path:
        return self.path / "log"

    def host_folder(self, share: str) -> Path:
        return self.path / "hosts" / share

    def mountpoint(self, share: str) -> Path:
        return self.path / "mounts" / share

    def make(self) -> None:
        """Create what is missing; somebody else's folder is refused."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = self.path.lstat()
        except OSError as error:
            raise MountError(
                f'state folder "{self.path}" cannot be made: {error.strerror}; '
                f"choose another with --state"
            ) from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise MountError(
                f'state folder "{self.path}" belongs to somebody else; choose another with --state'
            )
        self.path.chmod(0o700)

    def lock(self) -> int:
        """The lock that a daemon keeps while it lives; refused while one does."""
        fd = self._try_lock()
        if fd is None:
            raise MountError(
                f'a daemon serves "{self.path}" already; ask it with "datastores-agent status", '
                f"or choose another folder with --state"
            )
        return fd

    @property
    def is_taken(self) -> bool:
        """Whether a daemon lives here, answering or not."""
        if not (self.path / "lock").exists():
            return False
        fd = self._try_lock()
        if fd is not None:
            os.close(fd)
        return fd is None

    def listen(self) -> socket.socket:
        """The control socket, to which only its owner and root can connect."""
        self.socket_path.parent.mkdir(parents=True, exist_ok=True)
        self.socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            with self._short() as path:
                listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        return listener

    def connect(self, seconds: float) -> socket.socket:
        """A connection to the daemon; `OSError` when nobody listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(seconds)
        try:
            with self._short() as path:
                connection.connect(path)
        except OSError:
            connection.close()
            raise
        return connection

    def _try_lock(self) -> int | None:
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    @contextmanager
    def _short(self) -> Iterator[str]:
        """The socket's path: the kernel takes 107 bytes, and folders of jobs are longer."""
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        fd = os.open(self.socket_path.parent, flags)
        try:
            yield f"/proc/self/fd/{fd}/{self.socket_path.name}"
        finally:
            os.close(fd)
