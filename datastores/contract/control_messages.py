"""What may be said to an agent at work, and what it answers: one line of JSON each way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

from datastores.contract.decoding import Misfit, decode, encode, load
from datastores.contract.leases import LeaseSpec
from datastores.value import Value, field

VERSION = 1


class NewLeases(Value):
    """Fresh credentials by the name of their reference, and for the snapshot of the source."""

    kind: ClassVar[str] = "leases"

    leases: Mapping[str, LeaseSpec] = field(default_factory=dict)
    source: LeaseSpec | None = None


class CancelRun(Value):
    """End the run as SIGINT does; the second one kills the script."""

    kind: ClassVar[str] = "cancel"


class AskStatus(Value):
    """Only the answer is wanted."""

    kind: ClassVar[str] = "status"


Request: TypeAlias = NewLeases | CancelRun | AskStatus


class ReferenceStatus(Value):
    """Where one input or output stands."""

    name: str
    # "mount", "download", "rows" or "upload".
    how: str
    # "waiting", "ready", "uploaded", "complete", "missing" or "failed".
    state: str
    path: str
    files: int = 0
    bytes: int = 0
    # None where nobody knows an end, or no lease is needed.
    lease_expires_at: float | None = None


class RunStatus(Value):
    """Where a run stands."""

    run_id: str
    # "staging", "running", "flushing", "releasing", "sealing" or "ended".
    phase: str
    pid: int
    started_at: float
    # Why it ends otherwise than by the script's own exit: "canceled", "timed out", ...
    ending: str | None = None
    exit_code: int | None = None
    references: tuple[ReferenceStatus, ...] = ()


class Answer(Value):
    """Where the run stands now, and why the request was refused, if it was."""

    status: RunStatus | None = None
    refusal: str | None = None


_REQUEST, _ANSWER = "the request", "the agent's answer"
_ADVICE = "send it with datastores.contract.control"


def request_line(request: Request) -> bytes:
    """The request as one line, leases in clear: for the agent's socket and for nothing else."""
    return json.dumps({"version": VERSION, **encode(request)}).encode() + b"\n"


def request_of(line: bytes) -> Request:
    """The request that a line stands for; `WireError` names what is wrong and repeats no value."""
    try:
        found: Request = decode(Request, load(line, _REQUEST, VERSION, _ADVICE), "")
    except Misfit as misfit:
        # From None: the frames of its cause hold the line, leases included.
        raise misfit.about(_REQUEST) from None
    return found


def answer_line(answer: Answer) -> bytes:
    """The answer as one line; no secret is in it."""
    return json.dumps({"version": VERSION, **encode(answer)}).encode() + b"\n"


def answer_of(line: bytes) -> Answer:
    """The answer that a line stands for, or `WireError`."""
    try:
        found: Answer = decode(Answer, load(line, _ANSWER, VERSION, _ADVICE), "")
    except Misfit as misfit:
        raise misfit.about(_ANSWER) from None
    return found
