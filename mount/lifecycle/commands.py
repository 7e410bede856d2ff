"""What a job can ask of those who act for it; every command is answered by an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mount.lifecycle.events import Deadline


# Making a frozen dataclass takes 0.5 ms, and commands and events were a tenth of an agent's start.
# Equality and repr go by the class, so that these differ all the same.
@dataclass(frozen=True, slots=True)
class Bare:
    """A command that says everything by its name."""


@dataclass(frozen=True, slots=True)
class Named:
    """A command about one reference."""

    name: str


class StageSource(Bare):
    """Bring the source folder's files; `SourceReady` or `SourceFailed`."""

    __slots__ = ()


class FetchInput(Named):
    """Copy an input to its path; `ReferenceReady` or `ReferenceFailed`."""

    __slots__ = ()


class MountReference(Named):
    """Mount at the path; `ReferenceReady`, `ReferenceFailed` or `MountUnavailable`."""

    __slots__ = ()


class PrepareOutput(Named):
    """Make room for an output on the disk; `ReferenceReady` or `ReferenceFailed`."""

    __slots__ = ()


class AbandonStaging(Bare):
    """Stop what prepares references; each of them still answers, and soon."""

    __slots__ = ()


class StartProcess(Bare):
    """Start the script; `ProcessStarted` or `ProcessRefused`, later `ProcessExited`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SignalProcess:
    """Send the script's process group a signal; no answer but the exit."""

    signal: int


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Tell when so much time has passed: `DeadlinePassed`."""

    deadline: Deadline
    seconds: float


class WatchOutput(Named):
    """Send files of an output as they are closed and quiet; no answer before `UploadOutput`."""

    __slots__ = ()


class UploadOutput(Named):
    """Send the rest; `OutputUploaded`, `OutputMissing` or `OutputNotUploaded`."""

    __slots__ = ()


class AbandonUploads(Bare):
    """Stop sending, manifests included; each of them still answers, and soon."""

    __slots__ = ()


class ReleaseMount(Named):
    """Take a mount away, also one that a dead agent left; `MountReleased` or `MountNotReleased`."""

    __slots__ = ()


class WriteManifest(Named):
    """Seal an output; `ManifestWritten` or `ManifestNotWritten`."""

    __slots__ = ()


class Report(Bare):
    """The job has ended; there is nothing more to answer."""

    __slots__ = ()


Command: TypeAlias = (
    StageSource
    | FetchInput
    | MountReference
    | PrepareOutput
    | AbandonStaging
    | StartProcess
    | SignalProcess
    | SetDeadline
    | WatchOutput
    | UploadOutput
    | AbandonUploads
    | ReleaseMount
    | WriteManifest
    | Report
)
