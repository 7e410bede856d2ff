"""What the registry remembers of experiments and runs, as values; nothing in them is secret."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from datastores.errors import NameRejected
from datastores.history.status import Status
from datastores.value import Value, field

# Azure ML's rule for experiments; runs become folders, here and in stores.
_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}\Z")
_RUN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}\Z")
_LONGEST = 255

# Azure ML's word for runs of a script, and ours for runs that no agent looks after: their own
# process says when they end.
SCRIPT_RUN, INTERACTIVE = "azureml.scriptrun", "azureml.interactiverun"
# A step is looked after by its pipeline's runner, any other run below another by its own.
STEP_RUN = "azureml.StepRun"


class ExperimentName(str):
    """A text that follows Azure ML's rule for experiments."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Self:
        """The name, as it was spelled."""
        if not isinstance(text, str) or not _EXPERIMENT.match(text):
            raise NameRejected(
                "experiment",
                text if isinstance(text, str) else repr(text),
                "use 1 to 255 of the characters a-z, A-Z, 0-9, _ and -, a letter or digit first",
            )
        return cls(text)


class RunId(str):
    """A text that can be a folder, here and in a store."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Self:
        """The id, as it was spelled."""
        if not isinstance(text, str) or not _RUN.match(text):
            raise NameRejected(
                "run",
                text if isinstance(text, str) else repr(text),
                "use up to 255 of the characters a-z, A-Z, 0-9, _, . and -",
            )
        return cls(text)

    @classmethod
    def new(cls, experiment: str) -> Self:
        """An id that nobody has: Azure ML's experiment, seconds and eight digits."""
        tail = f"_{int(time.time())}_{secrets.token_hex(4)}"
        return cls(experiment[: _LONGEST - len(tail)] + tail)

    @classmethod
    def child_of(cls, parent: str) -> Self:
        """An id for a run below another."""
        tail = f"_{secrets.token_hex(4)}"
        return cls(parent[: _LONGEST - len(tail)] + tail)


class ExperimentRecord(Value):
    """A name that runs are filed under."""

    name: ExperimentName
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    # How many runs it ever had; the newest run has this number.
    runs: int = 0
    # Since when it is put away; None while it is active.
    archived: datetime | None = None


class ExperimentRemoval(Value):
    """What goes with an experiment, and what stays in stores and folders."""

    name: str
    # The ids of its runs, the newest first.
    runs: tuple[str, ...]
    # Files of these runs in datastores: they stay where they are.
    files: int
    bytes: int
    # Where they are, as `datastore:folder`.
    places: tuple[str, ...]
    # The runs' folders on their nodes; they stay, too.
    folders: tuple[str, ...]


class UsedReference(Value):
    """What a run read or wrote, and which versions where that is known."""

    name: str
    datastore: str
    place: str
    # "mount", "download" or "upload".
    mode: str
    # The datastore's `registration`; when a run that read it has ended, also `files`, `bytes`, the
    # `digest` and the `list` of what was read, or why they are `unknown`. Of a mount they are of
    # what was opened (`how`), by other jobs too where it was `shared` with any.
    versions: Mapping[str, str] = field(default_factory=dict)


class RunRecord(Value):
    """A run as it is known at one moment."""

    run_id: RunId
    experiment: ExperimentName
    status: Status = Status.NOT_STARTED
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    ended: datetime | None = None
    display_name: str | None = None
    description: str | None = None
    # The kind of run, in Azure ML's words.
    type: str = SCRIPT_RUN
    compute_target: str | None = None
    submitted_by: str | None = None
    # The entry script, or what is started in place of it.
    script: str | None = None
    command: tuple[str, ...] = ()
    # The run's folder on the node.
    folder: str | None = None
    # The job's wire form, leases left out.
    spec: Mapping[str, Any] | None = None
    # The environment that its configuration asked for, as configuration files spell it.
    environment: Mapping[str, Any] | None = None
    references: tuple[UsedReference, ...] = ()
    # The agent's report.
    report: Mapping[str, Any] | None = None
    exit_code: int | None = None
    error: str | None = None
    parent: RunId | None = None
    tags: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    # Counts the runs of an experiment from 1; given by the registry.
    number: int = 0
    # How many bytes of the run's events are in the registry.
    events_offset: int = 0

    @property
    def is_finished(self) -> bool:
        return self.status.is_finished


class RunFile(Value):
    """A file that belongs to a run.

    It is in a datastore, or still only on the node at `path`.
    """

    name: str
    size: int
    datastore: str | None = None
    place: str | None = None
    path: str | None = None
    added: datetime = field(default_factory=lambda: datetime.now(UTC))


def folder_in_store(run_id: str) -> str:
    """Where the files of a run are in their datastore."""
    return f"ExperimentRun/dcid.{run_id}"


def used_references(entries: Sequence[Mapping[str, Any]]) -> tuple[UsedReference, ...]:
    """The references of a stored record."""
    return tuple(UsedReference(**entry) for entry in entries)
