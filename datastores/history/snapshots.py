"""Snapshots: the source of a run in a datastore of its workspace, and back again as a ZIP."""

from __future__ import annotations

import os
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datastores.catalog.progress import azureml_options
from datastores.contract.ignoring import files_below
from datastores.errors import DefinitionRejected, NotRegistered
from datastores.history.files import file_datastore
from datastores.history.recorder import files_in
from datastores.registry.keys import chosen_source
from datastores.transfer.disk import explain, is_ours
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.records import RunRecord
    from datastores.history.run_history import RunHistory

# Azure ML's property of a run, and where its snapshot is.
_ID, _DATASTORE = "ContentSnapshotId", "ContentSnapshotDatastore"
# Azure ML's limit, and its variable that lifts it: what is larger is data and not source.
_MOST_BYTES = 300 * 1024 * 1024
_NO_LIMIT = "AML_SNAPSHOT_NO_FILE_LIMIT"
# What Azure ML leaves out, too: results are no source, and the history of the source is large.
_RESULTS = ("outputs", "logs", "azureml-logs")
_OTHERS = (".git", ".ipynb_checkpoints", "__pycache__")


class Snapshot(Value):
    """A copy of a source folder."""

    id: str
    datastore: str
    place: str

    @property
    def properties(self) -> dict[str, str]:
        """What a run remembers of it."""
        return {_ID: self.id, _DATASTORE: self.datastore}


def snapshot_of(record: RunRecord) -> Snapshot | None:
    """The snapshot that a run took, or that it was submitted with; None where there is none."""
    taken = record.properties.get(_ID)
    if taken is not None:
        return Snapshot(taken, record.properties.get(_DATASTORE, ""), _place(taken))
    source = (record.spec or {}).get("source") or {}
    if source.get("kind") == "snapshot":
        return Snapshot(str(record.run_id), source["definition"]["name"], source["place"])
    return None


def find_snapshot(history: RunHistory, snapshot_id: str) -> Snapshot:
    """The snapshot of this id, whichever run of the workspace has it."""
    named = [*history.list(properties={_ID: snapshot_id}, limit=1)]
    found = [snapshot_of(one) for one in named] or _submitted(history, snapshot_id)
    for one in found:
        if one is not None:
            return one
    raise NotRegistered("snapshot", snapshot_id, f'workspace "{history.workspace}"', [])


def take(workspace: Workspace, given: Path) -> Snapshot:
    """Copy a file or folder of source to the workspace's default datastore.

    `.amlignore` or `.gitignore` say what stays; results, and the workspace's own folder with its
    vault, stay in any case. More than 300 MB are refused.
    """
    from datastores import transfer

    sources = [transfer.Source(path, name) for name, path in _chosen(workspace, given)]
    datastore = file_datastore(workspace, None)
    made = Snapshot(str(uuid.uuid4()), datastore.name, "")
    made = Snapshot(made.id, made.datastore, _place(made.id))
    if sources:
        with datastore.opened() as store:
            transfer.upload(store, sources, made.place, options=azureml_options(overwrite=True))
    return made


def restore(workspace: Workspace, snapshot: Snapshot, folder: Path) -> Path:
    """Bring a snapshot into a folder as `<id>.zip`, which appears when it is complete."""
    from datastores import transfer

    target = folder.absolute() / f"{snapshot.id}.zip"
    with tempfile.TemporaryDirectory(prefix="datastores-snapshot-") as above:
        files, packed = Path(above, "files"), Path(above, "packed.zip")
        with file_datastore(workspace, snapshot.datastore).opened() as store:
            transfer.download(
                store,
                snapshot.place,
                files,
                strip=snapshot.place,
                options=transfer.Options(records=Path(above, "records")),
            )
        try:
            _pack(files, packed)
            _put(packed, target)
        except OSError as error:
            raise explain(error, str(folder), target.name) from error
    return target


def _place(snapshot_id: str) -> str:
    return f"azureml/snapshots/{snapshot_id}"


def _submitted(history: RunHistory, run_id: str) -> list[Snapshot | None]:
    """Snapshots of submitted runs are named after them."""
    try:
        return [snapshot_of(history.get(run_id))]
    except NotRegistered:
        return []


def _chosen(workspace: Workspace, given: Path) -> Iterator[tuple[str, Path]]:
    if given.is_file():
        yield given.name, given
        return
    if not given.is_dir():
        raise DefinitionRejected(
            "snapshot", f'"{given}" is not there; name the file or folder of the source'
        )
    private, size = _private(workspace, given), 0
    for name in files_below(given):
        path = given / name
        if _is_no_source(name) or any(path.resolve().is_relative_to(one) for one in private):
            continue
        size += path.stat().st_size
        if size > _MOST_BYTES and not os.environ.get(_NO_LIMIT):
            raise DefinitionRejected(
                "snapshot",
                f'"{given}" has more than 300 MB, which is the most; name what is no source in '
                f"a file .amlignore there, or pass snapshot_directory=None to start_logging",
            )
        yield name, path


def _private(workspace: Workspace, given: Path) -> list[Path]:
    """What of the workspace itself lies in the folder: its records, its data, its vault's key."""
    home = Path(workspace.registry_place).resolve().parent if workspace.is_embedded else Path()
    scheme, _, rest = chosen_source(workspace.record().settings.get("vault_key")).partition(":")
    kept = [(home / Path(rest).expanduser()).resolve()] if scheme == "file" else []
    if not workspace.is_embedded:
        return kept
    folder = given.resolve()
    if home == folder:
        raise DefinitionRejected(
            "snapshot",
            f'"{given}" holds the workspace itself, with its data and its vault; put the source '
            f"into a folder of its own, or pass snapshot_directory=None to start_logging",
        )
    return [*kept, home] if home.is_relative_to(folder) else kept


def _is_no_source(name: str) -> bool:
    parts = name.split("/")
    return parts[0] in _RESULTS or any(part in _OTHERS or is_ours(part) for part in parts)


def _pack(files: Path, packed: Path) -> None:
    # Files older than 1980 have no date that fits.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for name, path in files_in(files):
            archive.write(path, name)


def _put(packed: Path, target: Path) -> None:
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    # The system's folder for temporary files is everybody's, so the name is not to be guessed.
    fd, fresh = tempfile.mkstemp(prefix=".snapshot-", suffix=".zip", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as to, packed.open("rb") as source:
            shutil.copyfileobj(source, to)
        Path(fresh).replace(target)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise
