"""Hosts are started and found here."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from datastores.errors import DatastoresError
from mount.errors import DaemonUnreachable, MountError, MountRefused
from mount.fuse import device
from mount.host.folder import HostFolder
from mount.host.host import Host
from mount.host.leftovers import clear_place
from mount.host.order import MountOrder, order_to_json
from mount.host.sent_error import error_of_wire

START_SECONDS = 60.0
MOST_LOG_BYTES = 1 << 20


def start_host(order: MountOrder, folder: Path, seconds: float = START_SECONDS) -> Host:
    """A mount of its own process that outlives this one, ready to use.

    What an earlier host at the same path or in the same folder left is cleared first, and what it
    had not yet stored is sent. Raises what stands against it: `MountRefused`, errors of the store
    and of its credential, `MountError` when it is not ready within the bound.
    """
    made = HostFolder(folder.absolute())
    made.make()
    if made.is_taken:
        raise MountRefused(str(order.at), f'a host lives in "{folder}"; release it first')
    deadline = time.monotonic() + seconds
    with _log_of(made) as log_fd, _launched(made, log_fd) as launched:
        pid = None
        try:
            _hand_over(launched, order)
            pid = int(_line(launched, deadline) or 0)
            answer = json.loads(_line(launched, deadline) or "{}")
        except (ValueError, OSError):
            answer = {}
        if "pid" in answer:
            return Host(made.path)
        _end(order, made, pid)
        raise _failure(order, made, answer, seconds)


def find_host(folder: Path) -> Host | None:
    """The host that lives in this folder and answers; None otherwise."""
    host = Host(folder.absolute())
    if not HostFolder(host.folder).is_taken:
        return None
    try:
        host.status()
    except DaemonUnreachable:
        return None
    return host


def hosts(folder_of_all: Path) -> list[Host]:
    """The hosts that live and answer in the folders of this folder, by name."""
    if not folder_of_all.is_dir():
        return []
    found = [find_host(folder) for folder in sorted(folder_of_all.iterdir()) if folder.is_dir()]
    return [host for host in found if host is not None]


def repair_hosts(folder_of_all: Path) -> list[str]:
    """Clear the mounts of hosts that died in the folders of this folder; the places."""
    repaired: list[str] = []
    if not folder_of_all.is_dir():
        return repaired
    for path in sorted(folder_of_all.iterdir()):
        folder = HostFolder(path)
        record = None if folder.is_taken else folder.read_record()
        if record is not None and clear_place(record):
            repaired.append(str(record["at"]))
    return repaired


@contextmanager
def _log_of(folder: HostFolder) -> Iterator[int]:
    size = folder.log.stat().st_size if folder.log.exists() else 0
    if size > MOST_LOG_BYTES:
        folder.log.replace(folder.log.with_suffix(".old"))
    fd = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _launched(folder: HostFolder, log_fd: int) -> Iterator[subprocess.Popen[bytes]]:
    """The process that becomes the host's parent for a moment."""
    with subprocess.Popen(  # noqa: S603  # this interpreter and this package
        [sys.executable, "-m", "mount.host", str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log_fd,
        bufsize=0,
        start_new_session=True,
    ) as launched:
        try:
            yield launched
        finally:
            launched.kill()


def _hand_over(launched: subprocess.Popen[bytes], order: MountOrder) -> None:
    """The order with its lease goes through the pipe, and stays nowhere."""
    assert launched.stdin
    with launched.stdin as pipe:
        view = memoryview(order_to_json(order).encode())
        while view:
            view = view[pipe.write(view) or 0 :]


def _line(launched: subprocess.Popen[bytes], deadline: float) -> str | None:
    """The next line of what it says; None when none comes in time."""
    assert launched.stdout
    # Not `select`, which knows no descriptor above 1023.
    poll = select.poll()
    poll.register(launched.stdout, select.POLLIN)
    text = b""
    while not text.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        if not poll.poll(left * 1000):
            return None
        piece = launched.stdout.read(1)
        if not piece:
            return None
        text += piece
    return text.decode()


def _end(order: MountOrder, folder: HostFolder, pid: int | None) -> None:
    """Of a start that failed, leave nothing."""
    if pid:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    device.repair(str(order.at))
    folder.control.unlink(missing_ok=True)


def _failure(
    order: MountOrder, folder: HostFolder, answer: dict[str, object], seconds: float
) -> DatastoresError:
    if "error" in answer:
        return error_of_wire(answer)
    return MountError(
        f'"{order.name}" was not mounted at "{order.at}" within {seconds:.0f} s;'
        f' look at "{folder.log}"'
    )
