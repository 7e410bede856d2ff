"""What the control plane hands to a node: the job spec, its JSON, and the rules of its paths."""

from datastores.contract.job import (
    Command,
    FolderSource,
    InputMode,
    InputSpec,
    JobSpec,
    Limits,
    OutputMode,
    OutputSpec,
    QuerySpec,
    RowsSpec,
    Script,
    SnapshotSource,
    When,
)
from datastores.contract.leases import LeaseSpec
from datastores.contract.paths import lay_out
from datastores.contract.substitution import substitute, substitute_in_shell, variables
from datastores.contract.wire import VERSION, from_json, to_json

__all__ = [
    "VERSION",
    "Command",
    "FolderSource",
    "InputMode",
    "InputSpec",
    "JobSpec",
    "LeaseSpec",
    "Limits",
    "OutputMode",
    "OutputSpec",
    "QuerySpec",
    "RowsSpec",
    "Script",
    "SnapshotSource",
    "When",
    "from_json",
    "lay_out",
    "substitute",
    "substitute_in_shell",
    "to_json",
    "variables",
]
