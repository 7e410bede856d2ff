"""What can happen to a job."""

from __future__ import annotations

import enum
import signal
from typing import TypeAlias

from datastores.value import Value


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


class Bare(Value):
    """An event that says everything by its name."""


class Named(Value):
    """An event about one reference."""

    name: str


class Explained(Value):
    """An event about one reference, and why."""

    name: str
    reason: str


class SourceReady(Bare):
    """The source folder's files are in the working folder."""


class SourceFailed(Value):
    """They are not, and will not be."""

    reason: str
    exit_code: int = 22


class ReferenceReady(Named):
    """The path of an input or output can be used."""


class ReferenceFailed(Value):
    """It cannot, and will not be."""

    name: str
    reason: str
    exit_code: int = 22


class MountUnavailable(Explained):
    """A mount was refused, and copying may take its place."""


class ProcessStarted(Bare):
    """The script runs."""


class ProcessRefused(Value):
    """The script could not be started."""

    reason: str
    exit_code: int = 21


class ProcessExited(Value):
    """The script is gone; a code as shells show it, 128 and the signal's number for a signal."""

    code: int


class CancelAsked(Value):
    """Somebody wants the run to end; `signal` is what the script is told first."""

    signal: int = signal.SIGINT


class TerminateNotice(Value):
    """The machine will be taken away soon."""

    signal: int = signal.SIGTERM


class DeadlinePassed(Value):
    """A moment that a command asked for has come; it may come too late to matter."""

    deadline: Deadline


class OutputUploaded(Named):
    """All of an output is in its store."""


class OutputMissing(Explained):
    """The script left nothing at the output's path."""


class OutputNotUploaded(Value):
    """Some of an output is not in its store; it is still on the node."""

    name: str
    reason: str
    exit_code: int = 23


class MountReleased(Named):
    """A mount is gone, and what was written through it is in its store."""


class MountNotReleased(Explained):
    """A mount is still there, or something written through it is not in its store."""


class ManifestWritten(Named):
    """The output is sealed as complete."""


class ManifestNotWritten(Explained):
    """The output is there, and no reader can tell that it is complete."""


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
