"""Which datastore can be used how on which compute: what is tested, and what the README shows."""

from __future__ import annotations

from dataclasses import dataclass

BEGIN = "<!-- matrix: written from tests/mount/agent/matrix.py -->"
END = "<!-- end of the matrix -->"

FILES = ("as_mount", "as_download", "as_upload")
ROWS = ("as_download",)


@dataclass(frozen=True, slots=True)
class Compute:
    """A kind of node, and how mounts come about on it."""

    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of datastore, what can be done with it, and the note that belongs to it."""

    key: str
    title: str
    modes: tuple[str, ...]
    note: str = ""


COMPUTES = (
    Compute("own", "This machine, no daemon"),
    Compute(
        "daemon", "Node with the daemon (cluster, virtual machine, HDInsight, Databricks, Batch)"
    ),
    Compute("copies", "Container without `/dev/fuse`"),
)

KINDS = (
    Kind("blob", "AzureBlob", FILES),
    Kind("share", "AzureFile", FILES),
    Kind("gen1", "AzureDataLake (Gen1)", FILES, "of servers that still speak its protocol"),
    Kind("gen2", "AzureDataLakeGen2", FILES),
    Kind("local", "Local folder", FILES),
    Kind("s3", "fsspec (S3, GCS, ...)", FILES),
    Kind("postgres", "AzurePostgreSql", ROWS),
    Kind("mysql", "AzureMySql", ROWS),
    Kind(
        "sql", "AzureSqlDatabase", ROWS, "needs the extra `sqlserver` and Microsoft's ODBC driver"
    ),
    Kind(
        "dbfs",
        "DBFS",
        (),
        "a folder on Databricks nodes, with all modes; elsewhere refused with a sentence",
    ),
    Kind(
        "hdfs", "HDFS", (), "refused with a sentence; mount it on the node and register the folder"
    ),
)


def cell(compute: Compute, kind: Kind) -> str:
    """What the table says."""
    if not kind.modes:
        return "refused"
    shown = [
        f"`{mode}()` as a copy" if (mode, compute.key) == ("as_mount", "copies") else f"`{mode}()`"
        for mode in kind.modes
    ]
    return ", ".join(shown)


def table() -> str:
    """The matrix as Markdown, one row for each kind of datastore."""
    head = ["Datastore", *(compute.title for compute in COMPUTES), "Note"]
    rows = [
        [kind.title, *(cell(compute, kind) for compute in COMPUTES), kind.note] for kind in KINDS
    ]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)
