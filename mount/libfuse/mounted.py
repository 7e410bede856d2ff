"""A mount through libfuse and its life; the same face as `mount.fuse.mounted`."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from datastores.secret import redact
from datastores.value import Value
from mount.errors import MountRefused
from mount.fs.contract import ROOT_INODE, FileSystem, WouldWait
from mount.fuse import device, mounts
from mount.fuse.connection import Connection
from mount.fuse.defects import Defects
from mount.fuse.options import SUBTYPE, MountOptions
from mount.libfuse import wire
from mount.libfuse.calls import Backed, Calls

log = logging.getLogger(__name__)

PACKAGE = "fuse-python"
START_SECONDS = 30.0
# After the connection is gone nobody waits for an answer any more.
LAST_SECONDS = 10.0
# The most that libfuse 2 speaks.
REQUEST_BYTES = 128 << 10
# The kernel cannot be told to forget through libfuse 2: what it knows has to grow old soon.
MOST_SECONDS = 1.0
_FOLDER_OF_MODULES = Path(__file__).resolve().parents[2]


class Figures(Value):
    """What a mount did so far."""

    requests: int
    waited: int
    defects: int
    backed_opens: int
    by_call: dict[str, int]


class Mounted:
    """A mount that answers while it is served.

    As a context manager it is served by a thread, and unmounted at the end.
    """

    # The kernel itself never reads a file here.
    passthrough = False

    def __init__(
        self,
        mountpoint: str,
        filesystem: FileSystem,
        calls: Calls,
        front: subprocess.Popen[bytes],
        control: socket.socket,
        connection: Connection | None,
        threads: int,
    ) -> None:
        self.mountpoint = mountpoint
        self.connection = connection
        self.filesystem = filesystem
        self.calls = calls
        self.front = front
        self.control = control
        self.defects = Defects()
        self._table = calls.table()
        self._waiting = threading.BoundedSemaphore(threads)
        self._over = threading.Event()
        self._lines: list[threading.Thread] = []  # the serving thread alone
        self._lock = threading.Lock()
        # All under the lock.
        self._by_call: Counter[str] = Counter()
        self._waited = 0
        self._backed_opens = 0

    @property
    def figures(self) -> Figures:
        """Counters, all of them growing."""
        with self._lock:
            return Figures(
                self._by_call.total(),
                self._waited,
                self.defects.count,
                self._backed_opens,
                dict(self._by_call),
            )

    def serve(self) -> None:
        """Answer until the mount is gone."""
        try:
            while (line := _next_line(self.control)) is not None:
                self._lines.append(
                    threading.Thread(
                        target=self._serve_line, args=(line,), name="libfuse-line", daemon=True
                    )
                )
                self._lines[-1].start()
        finally:
            self._end()

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve, name="libfuse-reader", daemon=True).start()

    def unmount(self, *, lazy: bool = False) -> None:
        """Take the mount away; with files open it is refused, unless it is lazy."""
        device.unmount(self.mountpoint, lazy=lazy)

    def wait(self, seconds: float) -> bool:
        """Whether the mount is gone and the file system has stopped, within so many seconds."""
        return self._over.wait(seconds)

    def abort(self) -> bool:
        """Make the kernel give up: every caller in the mount gets an error."""
        if self.connection is None or not self.connection.abort():
            self.front.kill()
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # An aborted connection is over and still in the way.
        if self.connection is not None:
            self.connection.unmount(self.mountpoint)
        if not self.wait(LAST_SECONDS):
            # Files are still open; their owners get an error instead of a wait without end.
            log.warning("files below %s are still open; their connection is cut", self.mountpoint)
            self.abort()
            self.wait(LAST_SECONDS)
        if self.connection is not None:
            self.connection.close()

    def _serve_line(self, line: socket.socket) -> None:
        with line:
            while True:
                try:
                    self._answer(line, *wire.receive(line))
                except (EOFError, ConnectionError):
                    return

    def _answer(self, line: socket.socket, name: str, *arguments: object) -> None:
        with self._lock:
            self._by_call[name] += 1
        try:
            answer = self._answered(name, arguments)
        except Exception as error:  # noqa: BLE001 - a file system's defect is one failed call
            wire.send(line, (self.defects.number_for(error, name), None))
            return
        if isinstance(answer, Backed):
            with self._lock:
                self._backed_opens += 1
            wire.send(line, (0, answer.answer), [answer.fd])
        else:
            wire.send(line, (0, answer))

    def _answered(self, name: str, arguments: tuple[object, ...]) -> object:
        call = self._table[name]
        try:
            return call(*arguments, wait=False)
        except WouldWait:
            with self._lock:
                self._waited += 1
            with self._waiting:
                return call(*arguments, wait=True)

    def _end(self) -> None:
        self.control.close()
        try:
            self.front.wait(LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self.front.kill()
            self.front.wait(LAST_SECONDS)
        deadline = time.monotonic() + LAST_SECONDS
        for line in self._lines:
            line.join(max(0.0, deadline - time.monotonic()))
        if any(line.is_alive() for line in self._lines):
            log.warning("requests of %s are still being worked on", self.mountpoint)
        else:
            self.calls.close()
        try:
            self.filesystem.stop()
        finally:
            self._over.set()


def mount(filesystem: FileSystem, mountpoint: str, *, options: MountOptions) -> Mounted:
    """A new mount, accepted by the kernel and not served yet; refused with the reason."""
    place = os.path.realpath(mountpoint)
    if not Path(place).is_dir():
        raise MountRefused(mountpoint, "it is no folder; create it first")
    reason = why_not(place)
    if reason is not None:
        raise MountRefused(mountpoint, reason)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    calls = Calls(filesystem, options.umask)
    filesystem.start(calls.pages)
    try:
        words = ",".join(mount_words(options, _lifetimes(filesystem)))
        with theirs, tempfile.TemporaryFile() as said:
            front = _started(theirs, place, words, said)
            theirs.close()
            _await_ready(front, ours, place, said)
    except BaseException:
        ours.close()
        filesystem.stop()
        raise
    mounts.set_readahead(place, options.readahead_bytes)
    connection = Connection.of(place)
    return Mounted(place, filesystem, calls, front, ours, connection, options.threads)


def why_not(mountpoint: str) -> str | None:
    """The reason why libfuse cannot mount there; None if it may be tried."""
    if importlib.util.find_spec("fuseparts") is None:
        return f"{PACKAGE} is not installed; install datastores[libfuse]"
    # libfuse asks the same kernel in the same way.
    return device.why_not(mountpoint)


def mount_words(options: MountOptions, seconds: tuple[float, float]) -> list[str]:
    """The options of a mount in libfuse's words; names and attributes live so many seconds. Pure."""
    name_seconds, attribute_seconds = seconds
    return [
        "fsname=" + re.sub(r"([,\\])", r"\\\1", options.source),
        f"subtype={SUBTYPE}",
        # Inodes are the file system's; modes are checked by the kernel.
        "use_ino",
        "readdir_ino",
        "default_permissions",
        "nonempty",
        # Requests of more than a page; an open that empties says so itself.
        "big_writes",
        "atomic_o_trunc",
        f"max_read={min(options.request_bytes, REQUEST_BYTES)}",
        f"max_write={min(options.request_bytes, REQUEST_BYTES)}",
        f"max_readahead={options.readahead_bytes}",
        f"entry_timeout={min(name_seconds, MOST_SECONDS)}",
        f"attr_timeout={min(attribute_seconds, MOST_SECONDS)}",
        "negative_timeout=0",
        "nosuid",
        "nodev",
        "noatime",
        *(["ro"] if options.read_only else []),
        *(["allow_other"] if options.allow_other else []),
    ]


def _lifetimes(filesystem: FileSystem) -> tuple[float, float]:
    """Those of the root: there is one for all names here, and one for all attributes."""
    entry = filesystem.getattr(ROOT_INODE, None, wait=True)
    return entry.name_seconds, entry.attribute_seconds


def _started(
    control: socket.socket, place: str, words: str, said: IO[bytes]
) -> subprocess.Popen[bytes]:
    paths = [str(_FOLDER_OF_MODULES), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(  # noqa: S603 - this interpreter and our own module
        [sys.executable, "-m", "mount.libfuse.front", str(control.fileno()), place, words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1"},
        pass_fds=[control.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        # A signal for our group is for us: we unmount.
        start_new_session=True,
    )


def _await_ready(
    front: subprocess.Popen[bytes], control: socket.socket, place: str, said: IO[bytes]
) -> None:
    control.settimeout(START_SECONDS)
    try:
        answer = control.recv(1)
    except TimeoutError:
        answer = b""
    if answer == wire.READY:
        control.settimeout(None)
        return
    front.kill()
    front.wait(LAST_SECONDS)
    said.seek(0)
    words = redact(said.read().decode(errors="replace")).strip().splitlines()
    raise MountRefused(
        place, f"{words[-1] if words else 'libfuse did not start'}; download instead"
    )


def _next_line(control: socket.socket) -> socket.socket | None:
    said, fds, _, _ = socket.recv_fds(control, 1, 1)
    if not said:
        return None
    (fd,) = fds
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)
