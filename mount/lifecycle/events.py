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


# Bases instead of a dataclass for each: see `commands`.
@dataclass(frozen=True, slots=True)
class Bare:
    """An event that says everything by its name."""


@dataclass(frozen=True, slots=True)
class Named:
    """An event about one reference."""

    name: str


@dataclass(frozen=True, slots=True)
class Explained:
    """An event about one reference, and why."""

    name: str
    reason: str


class SourceReady(Bare):
    """The source folder's files are in the working folder."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """They are not, and will not be."""

    reason: str
    exit_code: int = 22


class ReferenceReady(Named):
    """The path of an input or output can be used."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ReferenceFailed:
    """It cannot, and will not be."""

    name: str
    reason: str
    exit_code: int = 22


class MountUnavailable(Explained):
    """A mount was refused, and copying may take its place."""

    __slots__ = ()


class ProcessStarted(Bare):
    """The script runs."""

    __slots__ = ()


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


class OutputUploaded(Named):
    """All of an output is in its store."""

    __slots__ = ()


class OutputMissing(Explained):
    """The script left nothing at the output's path."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class OutputNotUploaded:
    """Some of an output is not in its store; it is still on the node."""

    name: str
    reason: str
    exit_code: int = 23


class MountReleased(Named):
    """A mount is gone, and what was written through it is in its store."""

    __slots__ = ()


class MountNotReleased(Explained):
    """A mount is still there, or something written through it is not in its store."""

    __slots__ = ()


class ManifestWritten(Named):
    """The output is sealed as complete."""

    __slots__ = ()


class ManifestNotWritten(Explained):
    """The output is there, and no reader can tell that it is complete."""

    __slots__ = ()


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
