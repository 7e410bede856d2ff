"""The states of a run, and which may follow which."""

from __future__ import annotations

import enum

from datastores.errors import NameRejected


class Status(enum.StrEnum):
    """Where a run is, in Azure ML's words."""

    NOT_STARTED = "NotStarted"
    STARTING = "Starting"
    PROVISIONING = "Provisioning"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    NOT_RESPONDING = "NotResponding"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"

    @classmethod
    def parse(cls, text: str) -> Status:
        """The state that this word stands for."""
        try:
            return cls(text)
        except ValueError:
            raise NameRejected("status", text, f"use one of {', '.join(cls)}") from None

    @property
    def is_finished(self) -> bool:
        """Whether nothing follows by itself."""
        return self in FINISHED


FINISHED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})

# The way of a run to which nothing happens; steps may be left out and are never gone back.
_COURSE = (
    Status.NOT_STARTED,
    Status.STARTING,
    Status.PROVISIONING,
    Status.PREPARING,
    Status.QUEUED,
    Status.RUNNING,
    Status.FINALIZING,
)


def may_follow(before: Status, after: Status) -> bool:
    """Whether a run may go from one state to the other; staying is always allowed.

    A finished run stays finished, but one that failed or was canceled may be gone on with: what it
    left undone is done then. A run whose cancellation was asked for can only finish, or fall
    silent; one that fell silent may be heard of again, anywhere on its way.
    """
    if before == after or before.is_finished:
        resumes = before is not Status.COMPLETED and after is Status.STARTING
        return before == after or resumes
    if after.is_finished or after is Status.NOT_RESPONDING:
        return True
    if before is Status.NOT_RESPONDING:
        return after is not Status.NOT_STARTED
    if after is Status.CANCEL_REQUESTED:
        return True
    return before in _COURSE and _COURSE.index(before) < _COURSE.index(after)
