"""What the stores of a job cannot do, said before anything moves. Pure."""

from __future__ import annotations

import urllib.parse

from datastores.contract import JobSpec, OutputSpec
from datastores.contract.job import Reference
from datastores.definitions import Dbfs, Definition, FsspecUrl, Hdfs
from datastores.errors import Unsupported

# Addresses that fsspec reads and cannot write.
_READ_ONLY_SCHEMES = ("http", "https", "github", "ftp+http", "jar", "zip", "tar", "data")


def refuse_impossible(spec: JobSpec, *, has_dbfs: bool) -> None:
    """`Unsupported` for the first reference whose store cannot do it, with what it can do."""
    for one in spec.references:
        definition = one.definition
        if isinstance(definition, Hdfs):
            raise Unsupported(
                definition.name,
                None,
                f'{_mode(one)} of "{one.name}"; a job can do nothing with HDFS: mount it on the '
                f"node and register the folder, or copy the data to a blob container",
            )
        if isinstance(definition, Dbfs) and not has_dbfs:
            raise Unsupported(
                definition.name,
                None,
                f'{_mode(one)} of "{one.name}"; DBFS can be mounted, downloaded and uploaded to '
                f"on Databricks nodes only: run the job there, or register the storage behind it",
            )
        if isinstance(one, OutputSpec) and _is_read_only(definition):
            raise Unsupported(
                definition.name,
                None,
                f'{_mode(one)} of "{one.name}"; {definition.display} can be mounted and '
                f"downloaded, so write to another datastore",
            )


def _is_read_only(definition: Definition) -> bool:
    if not isinstance(definition, FsspecUrl):
        return False
    # "simplecache::https://..." is as read-only as its last part.
    last = definition.url.rpartition("::")[2]
    return urllib.parse.urlsplit(last).scheme in _READ_ONLY_SCHEMES


def _mode(one: Reference) -> str:
    mode = getattr(one, "mode", None)
    return str(mode.value) if mode is not None else "download"
