"""What can happen to a job."""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass
from typing import TypeAlias


class Deadline(enum.Enum):
    """The moments a job can ask to be told about."""

    # The script has run as long as it may.
    RUN = "run"
    # The script was asked to end and should have.
    GRACE = "grace"
    # The script was killed and should be gone.
    KILL = "kill"
    # Results should be in their stores.
    FLUSH = "flush"


@dataclass(frozen=True, slots=True)
class SourceReady:
    """The source folder's files are in the working folder."""


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """They are not, and will not be."""

    reason: str
    exit_code: int = 22


@dataclass(frozen=True, slots=True)
class ReferenceReady:
    """The path of an input or output can be used."""

    name: str


@dataclass(frozen=True, slots=True)
class ReferenceFailed:
    """It cannot, and will not be."""

    name: str
    reason: str
    exit_code: int = 22


@dataclass(frozen=True, slots=True)
class MountUnavailable:
    """A mount was refused, and copying may take its place."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """The script runs."""


@dataclass(frozen=True, slots=True)
class ProcessRefused:
    """The script could not be started."""

    reason: str
    exit_code: int = 21


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """The script is gone; a code as shells show it, 128 and the signal's number for a signal."""

    code: int


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the run to end; `signal` is what the script is told first."""

    signal: int = signal.SIGINT


@dataclass(frozen=True, slots=True)
class TerminateNotice:
    """The machine will be taken away soon."""

    signal: int = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """A moment that a command asked for has come; it may come too late to matter."""

    deadline: Deadline


@dataclass(frozen=True, slots=True)
class OutputUploaded:
    """All of an output is in its store."""

    name: str


@dataclass(frozen=True, slots=True)
class OutputMissing:
    """The script left nothing at the output's path."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutputNotUploaded:
    """Some of an output is not in its store; it is still on the node."""

    name: str
    reason: str
    exit_code: int = 23


@dataclass(frozen=True, slots=True)
class MountReleased:
    """A mount is gone, and what was written through it is in its store."""

    name: str


@dataclass(frozen=True, slots=True)
class MountNotReleased:
    """A mount is still there, or something written through it is not in its store."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ManifestWritten:
    """The output is sealed as complete."""

    name: str


@dataclass(frozen=True, slots=True)
class ManifestNotWritten:
    """The output is there, and no reader can tell that it is complete."""

    name: str
    reason: str


Event: TypeAlias = (
    SourceReady
    | SourceFailed
    | ReferenceReady
    | ReferenceFailed
    | MountUnavailable
    | ProcessStarted
    | ProcessRefused
    | ProcessExited
    | CancelAsked
    | TerminateNotice
    | DeadlinePassed
    | OutputUploaded
    | OutputMissing
    | OutputNotUploaded
    | MountReleased
    | MountNotReleased
    | ManifestWritten
    | ManifestNotWritten
)
