"""Which versions a run read: the list that its agent left among the run's logs."""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datastores.errors import Corrupted, NotRegistered, Unsupported
from datastores.history.records import RunRecord, UsedReference
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace


class FileVersion(Value):
    """A file as a run read it; the version is the store's, an ETag as a rule."""

    name: str
    size: int
    version: str | None


def input_versions(workspace: Workspace, record: RunRecord, name: str) -> Iterator[FileVersion]:
    """The files of an input, one by one in the order of the list.

    They come from the run's folder where this machine has it, and from the files of the run
    otherwise. `Unsupported` says why where they are not known.
    """
    used = _used(record, name)
    listed = used.versions.get("list")
    if listed is None:
        raise Unsupported(f"input {name}", None, _why(record, used))
    here = Path(record.folder) / listed if record.folder else None
    if here is not None and here.is_file():
        return _read(here)
    return _fetched(workspace, record, listed)


def _used(record: RunRecord, name: str) -> UsedReference:
    for one in record.references:
        if one.name == name:
            return one
    known = [one.name for one in record.references]
    raise NotRegistered("input", name, f'run "{record.run_id}"', known)


def _why(record: RunRecord, used: UsedReference) -> str:
    if used.mode == "upload":
        return "it is an output; its manifest lists what was written"
    if not record.is_finished:
        return "what was read is known when the run has ended; wait for it"
    why = used.versions.get("unknown", "its script was never started")
    return f"the versions that were read are not known: {why}"


def _fetched(workspace: Workspace, record: RunRecord, listed: str) -> Iterator[FileVersion]:
    from datastores.history.files import fetch_files, find_file
    from datastores.history.run_history import RunHistory

    history = RunHistory(workspace.registry, workspace.name)
    file = find_file(history.files(record.run_id), listed, record.run_id)
    with tempfile.TemporaryDirectory(prefix="datastores-run-") as folder:
        here = Path(folder) / "list"
        fetch_files(workspace, [file], {file.name: here})
        yield from _read(here)


def _read(path: Path) -> Iterator[FileVersion]:
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            for line in lines:
                yield FileVersion(*json.loads(line))
    except (EOFError, OSError, ValueError, TypeError, zlib.error) as error:
        raise Corrupted("run", str(path), f"it is no list of versions ({error})") from error
