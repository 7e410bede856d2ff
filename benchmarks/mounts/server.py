"""A peer's mount: started, waited for, watched, taken away."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.peer import Command
from benchmarks.trial import clean_environment

_REPOSITORY = Path(__file__).resolve().parents[2]
_START_SECONDS = 30.0
_END_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


class MountFailed(Exception):
    """The peer did not mount, or did not end."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of a mount have used so far."""

    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0

    def since(self, before: Usage) -> Usage:
        """The CPU since then; the peak is the peak of all its life."""
        return Usage(self.cpu_seconds - before.cpu_seconds, self.peak_rss_bytes)


@dataclass(frozen=True, slots=True)
class Server:
    """A running mount; `session` 0 is none, the floor."""

    session: int = 0

    def usage(self) -> Usage:
        """Summed over the processes of its session."""
        if not self.session:
            return Usage()
        each = [_usage(pid) for pid in _session_pids(self.session)]
        return Usage(sum(one.cpu_seconds for one in each), sum(one.peak_rss_bytes for one in each))


@contextlib.contextmanager
def served(command: Command, mountpoint: Path, scratch: Path) -> Iterator[Server]:
    """A mount that answers; unmounted at the end, and its process has ended then."""
    log = scratch / "mount.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command.argv),
            cwd=_REPOSITORY,
            env=clean_environment(command.environment, scratch),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_mount(process, mountpoint, log)
        yield Server(process.pid)
        _unmount(mountpoint)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            raise MountFailed(f"did not end within {_END_SECONDS:.0f} s of its unmount") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_END_SECONDS)
        # A dead mount cannot be looked at, only looked up.
        while _is_listed(mountpoint):
            _unmount(mountpoint, "-l")


def _await_mount(process: subprocess.Popen[bytes], mountpoint: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not os.path.ismount(mountpoint):
        if process.poll() is not None or time.monotonic() > deadline:
            words = log.read_text(errors="replace").strip().splitlines()
            raise MountFailed(f"did not mount: {words[-1] if words else 'without a word'}")
        time.sleep(0.01)


def _unmount(mountpoint: Path, *flags: str) -> None:
    done = subprocess.run(
        ["umount", *flags, str(mountpoint)], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode and not flags:
        _unmount(mountpoint, "-l")


def _is_listed(mountpoint: Path) -> bool:
    lines = Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()
    return any(line.split(" ")[1] == str(mountpoint) for line in lines)


def _session_pids(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        # A process may end between being listed and being read.
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            # Children in a session of their own are the mount's as well.
            if session in {int(fields[1]), int(fields[3])}:
                found.append(pid)
    return found


def _usage(pid: int) -> Usage:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        peak = 0
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) << 10
        return Usage((int(fields[11]) + int(fields[12])) / _TICKS, peak)
    return Usage()
