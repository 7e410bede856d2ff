"""What a job can ask of those who act for it; every command is answered by an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mount.lifecycle.events import Deadline


@dataclass(frozen=True, slots=True)
class StageSource:
    """Bring the source folder's files; `SourceReady` or `SourceFailed`."""


@dataclass(frozen=True, slots=True)
class FetchInput:
    """Copy an input to its path; `ReferenceReady` or `ReferenceFailed`."""

    name: str


@dataclass(frozen=True, slots=True)
class MountReference:
    """Mount at the path; `ReferenceReady`, `ReferenceFailed` or `MountUnavailable`."""

    name: str


@dataclass(frozen=True, slots=True)
class PrepareOutput:
    """Make room for an output on the disk; `ReferenceReady` or `ReferenceFailed`."""

    name: str


@dataclass(frozen=True, slots=True)
class AbandonStaging:
    """Stop what prepares references; each of them still answers, and soon."""


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Start the script; `ProcessStarted` or `ProcessRefused`, later `ProcessExited`."""


@dataclass(frozen=True, slots=True)
class SignalProcess:
    """Send the script's process group a signal; no answer but the exit."""

    signal: int


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Tell when so much time has passed: `DeadlinePassed`."""

    deadline: Deadline
    seconds: float


@dataclass(frozen=True, slots=True)
class WatchOutput:
    """Send files of an output as they are closed and quiet; no answer before `UploadOutput`."""

    name: str


@dataclass(frozen=True, slots=True)
class UploadOutput:
    """Send the rest; `OutputUploaded`, `OutputMissing` or `OutputNotUploaded`."""

    name: str


@dataclass(frozen=True, slots=True)
class AbandonUploads:
    """Stop sending, manifests included; each of them still answers, and soon."""


@dataclass(frozen=True, slots=True)
class ReleaseMount:
    """Take a mount away; `MountReleased` or `MountNotReleased`."""

    name: str


@dataclass(frozen=True, slots=True)
class WriteManifest:
    """Seal an output; `ManifestWritten` or `ManifestNotWritten`."""

    name: str


@dataclass(frozen=True, slots=True)
class Report:
    """The job has ended; there is nothing more to answer."""


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
