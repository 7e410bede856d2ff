"""Runners: processes that look after runs, and outlive whoever asked for them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

from datastores.catalog.workspace import Workspace
from datastores.errors import AlreadyRegistered
from datastores.secret import Secret
from datastores.submission.place import RunPlace, registry_address

_MODULE = "datastores.submission.runner"


@contextlib.contextmanager
def claimed(place: RunPlace) -> Iterator[int]:
    """The run's lock, for `launch`: nobody takes the run for an abandoned one meanwhile."""
    lock = place.take()
    if lock is None:
        raise AlreadyRegistered(
            "runner", place.root.name, f'"{place.root}"', "it looks after the run, nothing is lost"
        )
    try:
        yield lock
    finally:
        os.close(lock)


def launch(workspace: Workspace, place: RunPlace, lock: int) -> None:
    """Start a runner for the run in this folder; it goes on when this process has ended.

    The runner holds the lock as well from now on, until its end.
    """
    log = os.open(place.runner_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", _MODULE, str(place.root), str(lock)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            cwd=place.root,
            start_new_session=True,
        )
    finally:
        os.close(log)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(json.dumps(_address(workspace)).encode())
    # Its end is told by its lock; somebody has to collect it when this process lives longer.
    threading.Thread(target=process.wait, name="datastores-runner", daemon=True).start()


def _address(workspace: Workspace) -> dict[str, str | None]:
    """How the runner finds the workspace; through a pipe, since it may hold a password."""
    # A file's place may be relative to this process's folder, and the runner has another.
    place = Secret(registry_address(workspace)) if workspace.is_embedded else None
    return {
        "workspace": workspace.name,
        "registry": (place or workspace.registry_address).reveal(),
    }
