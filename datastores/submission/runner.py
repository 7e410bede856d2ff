"""A runner: does what the order in a run's folder says, and keeps the run's record true.

`python -m datastores.submission.runner FOLDER LOCK`, the workspace's address on stdin.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
from pathlib import Path

from typing_extensions import override

from datastores.secret import redact
from datastores.submission.agent_process import AgentProcess
from datastores.submission.early_agent import early_agent
from datastores.submission.place import RunPlace

log = logging.getLogger("datastores.submission")


def main() -> int:
    """Carry out one order; the exit code is that of the run."""
    # Loading makes objects that stay, and looking through them again and again takes time.
    gc.set_threshold(50_000)
    place = RunPlace(Path(sys.argv[1]))
    # Descriptors pass to children only by name: the lock ends with this process.
    os.set_inheritable(int(sys.argv[2]), False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _speak()
    waiting = early_agent(place)
    try:
        return _carry_out(place, waiting)
    finally:
        if waiting is not None:
            waiting.dismiss()


def _carry_out(place: RunPlace, waiting: AgentProcess | None) -> int:
    # While the agent loads what is its own.
    from datastores.catalog.workspace import Workspace
    from datastores.submission.performing import Desk

    given = json.loads(sys.stdin.buffer.read())
    workspace = Workspace.get(given["workspace"], registry=given.pop("registry"))
    try:
        return Desk.of(workspace, waiting).perform(place.root.name, place).exit_code
    finally:
        workspace.close()


class _Line(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _speak() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads that are stuck in the network must not hold up the end.
    os._exit(code)
