"""What a caller may choose about an agent."""

from __future__ import annotations

import enum
from pathlib import Path

from datastores.storage.contract import Patience
from datastores.value import Value, field
from mount.agent.mounting import Mounter, NoMounter
from mount.leases.lease import LATE_SECONDS
from mount.places import cache_folder


class MountFallback(enum.Enum):
    """What happens to a mount where nothing can be mounted."""

    # Inputs are downloaded to the same path; outputs are written there and uploaded.
    COPY = "copy"
    ERROR = "error"


class Settings(Value):
    """One agent's settings; the defaults are a run in the foreground."""

    mount_fallback: MountFallback = MountFallback.COPY
    mounter: Mounter = field(default_factory=lambda: NoMounter("this agent has no mounter"))
    # Where the script's two streams are shown.
    stdout: int = 1
    stderr: int = 2
    patience: Patience = field(default_factory=Patience)
    # The folder of the node's cache, which downloads share with mounts; None does without.
    cache_at: Path | None = field(default_factory=cache_folder)
    # How long a closed file of an output must stay as it is before it is sent.
    quiet_seconds: float = 1.0
    # How long to wait for the threads of transfers that were called off.
    abandon_seconds: float = 3.0
    # How long after the end of a lease its renewal may come before requests fail.
    late_seconds: float = LATE_SECONDS
    # How long the release of a mount may take.
    release_seconds: float = 60.0
    # How long the end of a run waits for the lists of what its inputs were.
    list_seconds: float = 30.0
