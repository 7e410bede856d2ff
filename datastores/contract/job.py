"""The job spec: everything a node needs to know about one run, as values."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

from datastores.contract.leases import LeaseSpec
from datastores.definitions import Definition
from datastores.keys import is_below, parent
from datastores.value import Value, field


class InputMode(enum.Enum):
    """How files come to the compute."""

    MOUNT = "mount"
    DOWNLOAD = "download"


class OutputMode(enum.Enum):
    """How files leave the compute."""

    UPLOAD = "upload"
    MOUNT = "mount"


class When(enum.Enum):
    """After which runs an output is kept."""

    SUCCESS = "success"
    ALWAYS = "always"


class Script(Value):
    """A Python file of the source folder; `$AZUREML_DATAREFERENCE_x` in arguments is replaced."""

    kind: ClassVar[str] = "script"

    path: str
    arguments: tuple[str, ...] = ()
    interpreter: str = "python"


class Command(Value):
    """Any program: a list of arguments, or one text for the shell."""

    kind: ClassVar[str] = "command"

    arguments: tuple[str, ...] = ()
    shell: str | None = None


class FolderSource(Value):
    """A folder that the node can see; its files are copied into the working folder."""

    kind: ClassVar[str] = "folder"

    path: str


class SnapshotSource(Value):
    """A copy of the source folder in a datastore, fetched into the working folder."""

    kind: ClassVar[str] = "snapshot"

    definition: Definition
    place: str
    lease: LeaseSpec | None = None


class InputSpec(Value):
    """Files the script reads. The path is that of the folder, or of the file."""

    name: str
    mode: InputMode
    definition: Definition
    place: str = ""
    path_on_compute: str | None = None
    overwrite: bool = False
    lease: LeaseSpec | None = None


class OutputSpec(Value):
    """Files the script writes.

    The contents of a folder go below `place`; a single file goes there under its own name.
    Where `manifest` names no key of the store, the completion manifest lies among them.
    """

    name: str
    mode: OutputMode
    definition: Definition
    place: str = ""
    path_on_compute: str | None = None
    overwrite: bool = False
    when: When = When.ALWAYS
    lease: LeaseSpec | None = None
    manifest: str | None = None

    @property
    def reach(self) -> str:
        """The innermost folder that holds all it writes, which a lease has to open."""
        if self.manifest is None or is_below(self.manifest, self.place):
            return self.place
        place = parent(self.manifest)
        while place and not is_below(self.place, place):
            place = parent(place)
        return place


# Values that JSON carries without change.
Scalar: TypeAlias = str | int | float | bool | None


class QuerySpec(Value):
    """Exactly one of a table, a query and a stored procedure; parameters by name or by position."""

    table: str | None = None
    text: str | None = None
    procedure: str | None = None
    named: Mapping[str, Scalar] = field(default_factory=dict)
    positional: tuple[Scalar, ...] = ()


def folder_name(name: str) -> str:
    """What a folder can be called after a reference, whose name may be any text."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


class RowsSpec(Value):
    """Rows of a database, which the script reads as a folder of Parquet files."""

    name: str
    definition: Definition
    query: QuerySpec
    path_on_compute: str | None = None
    overwrite: bool = False
    lease: LeaseSpec | None = None

    @property
    def place(self) -> str:
        """Rows have no key, so their folder is called like the reference."""
        return folder_name(self.name)


class Limits(Value):
    """Bounds in seconds.

    A cloud takes a machine back 30 s after its notice (Azure spot, Kubernetes): a third is the
    script's to end, the rest is for what it wrote.
    """

    run_seconds: float | None = None
    grace_seconds: float = 10.0
    flush_seconds: float = 20.0


Work: TypeAlias = Script | Command
Source: TypeAlias = FolderSource | SnapshotSource
Reference: TypeAlias = InputSpec | RowsSpec | OutputSpec


class JobSpec(Value):
    """One run on one node. Printing it shows no lease; names of references are unique."""

    run_id: str
    experiment: str
    work: Work
    source: Source | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[InputSpec, ...] = ()
    rows: tuple[RowsSpec, ...] = ()
    outputs: tuple[OutputSpec, ...] = ()
    limits: Limits = field(default_factory=Limits)
    # Whether `path_on_compute` may leave the working folder.
    absolute_paths: bool = False

    @property
    def references(self) -> tuple[Reference, ...]:
        """Everything that becomes a path on the compute."""
        return (*self.inputs, *self.rows, *self.outputs)
