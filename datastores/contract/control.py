"""Talking to the agent at work in a run's folder: new leases, cancel, status.

The agent listens on the Unix socket `control` of the folder and answers its own user and root.
Every call answers within its bound, and gives None when no agent works in the folder.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from datastores.contract.control_messages import (
    AskStatus,
    CancelRun,
    NewLeases,
    Request,
    RunStatus,
    answer_of,
    request_line,
)
from datastores.contract.control_socket import peer_uid, read_line, socket_path
from datastores.contract.leases import LeaseSpec
from datastores.errors import PermissionDenied, Unavailable, WireError

_TIMEOUT_SECONDS = 10.0


def send_leases(
    folder: Path,
    leases: Mapping[str, LeaseSpec],
    *,
    source: LeaseSpec | None = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> RunStatus | None:
    """Give running stores fresh credentials, by the name of their reference.

    When this returns, the agent uses them for every request it begins. `WireError` when the run
    has no reference of such a name; then none of them is taken.
    """
    return _ask(folder, NewLeases(dict(leases), source), timeout_seconds)


def cancel(folder: Path, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> RunStatus | None:
    """Ask the run to end; it is ending when this returns, and may take its grace to end."""
    return _ask(folder, CancelRun(), timeout_seconds)


def status(folder: Path, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> RunStatus | None:
    """Where the run stands."""
    return _ask(folder, AskStatus(), timeout_seconds)


def _ask(folder: Path, request: Request, timeout_seconds: float) -> RunStatus | None:
    end = time.monotonic() + timeout_seconds
    label = f"agent of {folder}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout_seconds)
        try:
            with socket_path(folder) as path:
                link.connect(path)
            _refuse_stranger(link, folder, label)
            link.sendall(request_line(request))
            line = read_line(link, end)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            # A socket without a listener is what a killed agent leaves.
            return None
        except PermissionError as error:
            detail = "its socket answers the run's user and root; ask as one of them"
            raise PermissionDenied(label, detail=detail) from error
        except OSError as error:
            detail = f"{error.strerror or error}; ask again, or look at agent.log in its folder"
            raise Unavailable(label, detail=detail) from error
    if not line:
        # It ended while we asked.
        return None
    answer = answer_of(line)
    if answer.refusal is not None:
        raise WireError(f"the {label} refuses the request: {answer.refusal}")
    return answer.status


def _refuse_stranger(link: socket.socket, folder: Path, label: str) -> None:
    """Leases go in clear to whoever listens: that must be the folder's owner, ourselves or root."""
    if peer_uid(link) not in (0, os.geteuid(), folder.stat().st_uid):
        detail = "somebody else listens in its folder; look who may write there"
        raise PermissionDenied(label, detail=detail)
