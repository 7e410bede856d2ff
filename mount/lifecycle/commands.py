"""What a job can ask of those who act for it; every command is answered by an event."""

from __future__ import annotations

from typing import TypeAlias

from datastores.value import Value
from mount.lifecycle.events import Deadline


class Bare(Value):
    """A command that says everything by its name."""


class Named(Value):
    """A command about one reference."""

    name: str


class StageSource(Bare):
    """Bring the source folder's files; `SourceReady` or `SourceFailed`."""


class FetchInput(Named):
    """Copy an input to its path; `ReferenceReady` or `ReferenceFailed`."""


class MountReference(Named):
    """Mount at the path; `ReferenceReady`, `ReferenceFailed` or `MountUnavailable`."""


class PrepareOutput(Named):
    """Make room for an output on the disk; `ReferenceReady` or `ReferenceFailed`."""


class AbandonStaging(Bare):
    """Stop what prepares references; each of them still answers, and soon."""


class StartProcess(Bare):
    """Start the script; `ProcessStarted` or `ProcessRefused`, later `ProcessExited`."""


class SignalProcess(Value):
    """Send the script's process group a signal; no answer but the exit."""

    signal: int


class SetDeadline(Value):
    """Tell when so much time has passed: `DeadlinePassed`."""

    deadline: Deadline
    seconds: float


class WatchOutput(Named):
    """Send files of an output as they are closed and quiet; no answer before `UploadOutput`."""


class UploadOutput(Named):
    """Send the rest; `OutputUploaded`, `OutputMissing` or `OutputNotUploaded`."""


class AbandonUploads(Bare):
    """Stop sending, manifests included; each of them still answers, and soon."""


class ReleaseMount(Named):
    """Take a mount away, also one that a dead agent left; `MountReleased` or `MountNotReleased`."""


class WriteManifest(Named):
    """Seal an output; `ManifestWritten` or `ManifestNotWritten`."""


class Report(Bare):
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
