"""The agent of a run, as a process of this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datastores.secret import redact
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.contract import JobSpec
    from datastores.submission.place import RunPlace

log = logging.getLogger(__name__)

# The agent's own command, found wherever this package is installed.
_AGENT = ("-m", "mount.cli")
# Sentences that end an agent are short, and the script's output has a log of its own.
_TAIL_BYTES = 16 << 10
# Keys of the workspace's vault stay with the control plane.
_KEPT_BACK = ("DATASTORES_VAULT_KEY",)
_PIECE_BYTES = 1 << 16
_OF_A_RUN = ("AZUREML_", "DATASTORES_RUN_EVENTS")


class AgentEnd(Value):
    """How an agent left, and what it said at last; its report says the rest."""

    exit_code: int
    last_words: str | None


class AgentProcess:
    """An agent that was started here. It outlives its starter; its lock says that it is at work."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._is_told = False
        self._tail = bytearray()
        self._reader = threading.Thread(target=self._read, name="datastores-agent", daemon=True)

    @classmethod
    def launch(cls, place: RunPlace, order: Mapping[str, Any]) -> AgentProcess:
        """An agent that loads what this order needs, and waits for the job itself."""
        process = subprocess.Popen(  # noqa: S603  # our own module
            [
                sys.executable,
                *_AGENT,
                "run",
                "-",
                "--folder",
                str(place.root),
                "--mount-fallback",
                order["mount_fallback"],
                *(f"--expect={word}" for word in expected(order["spec"])),
            ],
            stdin=subprocess.PIPE,
            # The script's output is in the run's folder.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=agent_environment(os.environ),
            start_new_session=True,
        )
        started = cls(process)
        started._reader.start()
        return started

    def tell(self, spec: JobSpec) -> None:
        """Hand it the job, with its leases, through the pipe."""
        from datastores.contract import to_json

        self._is_told = True
        assert self._process.stdin is not None
        # An agent that refuses the job may be gone before it has read it.
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(to_json(spec).encode())

    def dismiss(self) -> None:
        """End it, if it was never told a job; one that has a job is left alone."""
        if self._is_told:
            return
        self._is_told = True
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None
        self._process.stdin.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, seconds: float) -> int | None:
        """The exit code once there is one; None when it is still at work after so long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def interrupt(self) -> None:
        """Ask it to end as a person at a terminal would."""
        self._process.send_signal(signal.SIGINT)

    def last_words(self) -> str | None:
        """The sentence it ended with, if it said one."""
        self._reader.join(5.0)
        lines = bytes(self._tail).decode(errors="replace").splitlines()
        for line in reversed(lines):
            if line.startswith("error: "):
                return redact(line.removeprefix("error: "))
        return redact(lines[-1]) if lines else None

    def _read(self) -> None:
        pipe = self._process.stderr
        assert pipe is not None
        with pipe:
            while piece := os.read(pipe.fileno(), _PIECE_BYTES):
                self._tail += piece
                del self._tail[:-_TAIL_BYTES]


class FoundAgent:
    """An agent that an earlier runner started; only its lock tells when it ends."""

    def __init__(self, place: RunPlace) -> None:
        self._place = place
        self._pause = threading.Event()

    def wait(self, seconds: float) -> int | None:
        """0 once it is gone: what it came to is in its report."""
        if self._place.agent_is_gone():
            return 0
        self._pause.wait(seconds)
        return None

    def interrupt(self) -> None:
        """Nothing: it listens on its socket, and its number may be somebody else's by now."""

    def last_words(self) -> str | None:
        return None


def expected(spec: Mapping[str, Any]) -> list[str]:
    """What an agent will need for this spec, in the words of its `--expect`."""
    files = [*spec["inputs"], *spec["outputs"]]
    modes = [one["mode"] for one in files]
    kinds = [one["definition"]["kind"] for one in files]
    return list(dict.fromkeys([*sorted(modes), *sorted(kinds)]))


def agent_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of the agent, and hence of the script.

    What a script is told of its run is not for the runs that it submits.
    """
    from_a_run = _OF_A_RUN if "AZUREML_RUN_ID" in inherited else ()
    return {
        name: value
        for name, value in inherited.items()
        if name not in _KEPT_BACK and not name.startswith(from_a_run)
    }
