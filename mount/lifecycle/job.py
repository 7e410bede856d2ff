"""Where a job stands, as a value."""

from __future__ import annotations

import enum

from datastores.value import Value
from mount.lifecycle.plan import Plan


class Phase(enum.Enum):
    """What a job is waiting for."""

    STAGING = "staging"
    RUNNING = "running"
    FLUSHING = "flushing"
    RELEASING = "releasing"
    SEALING = "sealing"
    ENDED = "ended"


class Ending(enum.Enum):
    """Why a job ends otherwise than by its script's own exit."""

    FAILED = "failed"
    CANCELED = "canceled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed out"
    # The agent itself was killed while the script ran.
    INTERRUPTED = "interrupted"


class Trouble(Value):
    """Something that went wrong with one reference, or with the whole job."""

    name: str | None
    reason: str
    exit_code: int


class Job(Value):
    """One job between two events."""

    plan: Plan
    phase: Phase = Phase.STAGING
    # What this phase waits for, by name; the source folder is None.
    pending: frozenset[str | None] = frozenset()
    # References that have a path already, from before a restart.
    ready: frozenset[str] = frozenset()
    # Mounts that must be released.
    mounted: frozenset[str] = frozenset()
    # Outputs meant to be mounted that live on the disk instead.
    fallen_back: frozenset[str] = frozenset()
    # Outputs that are wholly in their store, and those sealed there.
    uploaded: frozenset[str] = frozenset()
    sealed: frozenset[str] = frozenset()
    is_process_alive: bool = False
    is_abandoned: bool = False
    # Time is short: results must be in their stores within the flush bound.
    is_hurried: bool = False
    # What the script is to be told as soon as it runs.
    told_signal: int | None = None
    exit_code: int | None = None
    ending: Ending | None = None
    troubles: tuple[Trouble, ...] = ()
    # Troubles that do not make the run a failed one.
    warnings: tuple[Trouble, ...] = ()

    @property
    def has_succeeded(self) -> bool:
        """Whether the script ran to its end, unhindered, and said so."""
        return self.exit_code == 0 and self.ending is None


# What shells and `timeout` show for such an end; 128 and the signal's number otherwise.
_ENDING_CODES = {
    Ending.FAILED: 1,
    Ending.CANCELED: 130,
    Ending.TERMINATED: 143,
    Ending.TIMED_OUT: 124,
    Ending.INTERRUPTED: 137,
}


def exit_code_of(job: Job) -> int:
    """What the agent leaves with: the script's own failure first, then what befell the job."""
    if job.exit_code:
        return job.exit_code
    if job.ending not in (None, Ending.FAILED):
        assert job.ending is not None
        return _ENDING_CODES[job.ending]
    if job.troubles:
        return job.troubles[0].exit_code
    return 0 if job.ending is None else _ENDING_CODES[job.ending]


def status_of(job: Job) -> str:
    """The one word for how it ended, as Azure ML spells it."""
    if job.ending in (Ending.CANCELED, Ending.TERMINATED):
        return "Canceled"
    return "Completed" if exit_code_of(job) == 0 else "Failed"
