"""The script as a process group of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from datastores.value import Value
from mount.agent.streams import Pump

_SET_PARENT_DEATH_SIGNAL = 1
# After the group is gone nothing but a stranger can keep the pipes open.
_DRAIN_SECONDS = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


class Identity(Value):
    """Which process it is, beyond its number: numbers are used again."""

    pid: int
    started_ticks: int
    boot: str


class Process:
    """A running script."""

    def __init__(self, child: subprocess.Popen[bytes], pumps: Sequence[Pump]) -> None:
        self._child = child
        self._pumps = pumps
        self._lock = threading.Lock()
        # Under the lock: after this its number may be somebody else's.
        self._is_reaped = False

    @property
    def identity(self) -> Identity:
        return identity_of(self._child.pid)

    def signal(self, number: int) -> None:
        """Tell every process of the group; those that are gone need not be told."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if not self._is_reaped:
                os.killpg(self._child.pid, number)

    def wait(self) -> int:
        """The exit code as shells show it, after all output has passed.

        What the script left behind in its group is killed: it would hold mounts and pipes.
        """
        os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            # The script itself is not reaped yet, so its number is still that of its group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            code = self._child.wait()
            self._is_reaped = True
        for pump in self._pumps:
            pump.finish(_DRAIN_SECONDS)
        return code if code >= 0 else 128 - code


def start(
    arguments: Sequence[str],
    variables: Mapping[str, str],
    folder: Path,
    shown: tuple[int, int],
    logged: int,
) -> Process:
    """The program, started in the folder; call it from a thread that outlives the process.

    It dies with that thread, so with the agent, however that ends.
    """
    outputs = [os.pipe(), os.pipe()]
    try:
        child = subprocess.Popen(  # noqa: S603  # running what the spec names is the purpose
            arguments,
            env=variables,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=outputs[0][1],
            stderr=outputs[1][1],
            process_group=0,
            preexec_fn=_dies_with(os.getpid()),  # noqa: PLW1509  # nothing else can set it; it calls one prepared function
        )
    except BaseException:
        for reading, _ in outputs:
            os.close(reading)
        raise
    finally:
        for _, writing in outputs:
            os.close(writing)
    pumps = [
        Pump(reading, target, logged) for (reading, _), target in zip(outputs, shown, strict=True)
    ]
    for pump in pumps:
        pump.start()
    return Process(child, pumps)


def _dies_with(parent: int) -> Callable[[], None]:
    def ask() -> None:
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)

    return ask


def identity_of(pid: int) -> Identity:
    """Who has this number now."""
    return Identity(pid, _stat(pid)[19], _boot())


def end_leftovers(past: Identity) -> None:
    """Kill what is left of the group of a script whose agent was killed."""
    if past.boot != _boot():
        return
    with contextlib.suppress(OSError):
        if _stat(past.pid)[19] != past.started_ticks:
            return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if _stat(int(entry.name))[2] == past.pid:
                    os.kill(int(entry.name), signal.SIGKILL)


def _stat(pid: int) -> list[int]:
    """Numbers of /proc/PID/stat after the name: [2] is the group, [19] the start."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return [0, *(int(field) for field in text.rpartition(")")[2].split()[1:])]


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
