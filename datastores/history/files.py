"""Files of runs: in a datastore of the workspace below `ExperimentRun/dcid.<run id>/`, as Azure ML
keeps them.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from typing_extensions import override

from datastores.catalog.file_datastores import FileDatastore
from datastores.catalog.progress import azureml_options
from datastores.errors import DefinitionRejected, NameRejected, NotRegistered
from datastores.history.events import file_name
from datastores.history.recorder import files_in
from datastores.history.records import RunFile, folder_in_store
from datastores.keys import basename, local_target
from datastores.keys import join as join_place
from datastores.transfer.disk import explain, is_ours
from datastores.transfer.watcher import Silent

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.run_history import RunHistory

log = logging.getLogger(__name__)


def keep_run_files(workspace: Workspace, run_id: str, folder: Path) -> list[RunFile]:
    """Send what a run left in its folder on this machine: `outputs/`, logs, and what its script
    handed over; all of them are files of the run afterwards, and those sent now are returned.

    What is in its store already is sent again only where it has changed. Of several that fail the
    others arrive; the same call sends the rest.
    """
    known = {file.name: file for file in _history(workspace).files(run_id)}
    found: dict[str, tuple[Path, str]] = {name: (path, "") for name, path in _left_in(folder)}
    for file in known.values():
        if file.place is None and file.path is not None and Path(file.path).is_file():
            found[file.name] = (Path(file.path), file.datastore or "")
    kept: list[RunFile] = []
    for datastore in sorted({wanted for _, wanted in found.values()}):
        chosen: dict[str, Path | IO[bytes]] = {
            name: path
            for name, (path, wanted) in found.items()
            if wanted == datastore and not _is_there(known.get(name), path)
        }
        kept += send_files(workspace, run_id, chosen, datastore or None)
    return kept


def send_files(
    workspace: Workspace,
    run_id: str,
    files: Mapping[str, Path | IO[bytes]],
    datastore_name: str | None = None,
) -> list[RunFile]:
    """Send files to a datastore, the default one if none is named, and note with the run those
    that arrived.
    """
    from datastores import transfer
    from datastores.transfer.sources import Source

    if not files:
        return []
    datastore = file_datastore(workspace, datastore_name)
    place, began, arrived = folder_in_store(run_id), datetime.now(UTC), _Arrived()
    try:
        with _on_disk(files) as paths, datastore.opened() as store:
            transfer.upload(
                store,
                [Source(path, name) for name, path in paths.items()],
                place,
                options=azureml_options(overwrite=True),
                watcher=arrived,
            )
    finally:
        sent = [
            RunFile(name, size, datastore.name, join_place(place, name), added=began)
            for name, size in arrived.sizes().items()
        ]
        _history(workspace).add_files(run_id, sent)
    return sent


class _Arrived(Silent):
    """Remembers which files arrived, and how large they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a transfer tells from many threads
        self._bytes: dict[str, int] = {}
        self._names: list[str] = []

    @override
    def moved(self, name: str, size: int) -> None:
        with self._lock:
            self._bytes[name] = self._bytes.get(name, 0) + size

    @override
    def finished(self, name: str) -> None:
        with self._lock:
            self._names.append(name)

    def sizes(self) -> dict[str, int]:
        """What is in the store, by name."""
        return {name: self._bytes.get(name, 0) for name in sorted(self._names)}


def fetch_files(
    workspace: Workspace, files: Sequence[RunFile], targets: Mapping[str, Path]
) -> None:
    """Bring files of a run to the places named for them; each appears when it is complete."""
    from datastores import transfer

    stored = [file for file in files if file.datastore is not None and file.place is not None]
    for name in sorted({file.datastore or "" for file in stored}):
        with file_datastore(workspace, name).opened() as store:
            for file in stored:
                if file.datastore == name:
                    target = targets[file.name]
                    transfer.download(
                        store,
                        file.place or "",
                        target.parent,
                        name=target.name,
                        options=azureml_options(overwrite=True, target=target),
                    )
    for file in files:
        if file.place is None:
            _copy_from_node(file, targets[file.name])


def find_file(files: Sequence[RunFile], name: str, run_id: str) -> RunFile:
    """The file of this name; `NotRegistered` lists the others."""
    for file in files:
        if file.name == name:
            return file
    raise NotRegistered("file", name, f'run "{run_id}"', [file.name for file in files])


def single_target(name: str, given: Path | None) -> Path:
    """Where one file goes: to the path named, into the folder named, or here under its own name."""
    if given is None:
        return Path(basename(name))
    return given / basename(name) if given.is_dir() else given


def targets_below(
    files: Sequence[RunFile], prefix: str, folder: Path, *, append_prefix: bool
) -> dict[str, Path]:
    """Where several files go: below the folder, with the folders of their names."""
    return {
        file.name: local_target(folder, file.name if append_prefix else _without(file.name, prefix))
        for file in files
    }


def _without(name: str, prefix: str) -> str:
    rest = name.removeprefix(prefix).lstrip("/")
    return rest or basename(name)


def _left_in(folder: Path) -> Iterator[tuple[str, Path]]:
    for place, inside in (("outputs", folder / "work" / "outputs"), ("logs", folder / "logs")):
        if inside.is_dir():
            for name, path in files_in(inside):
                if is_ours(basename(name)):
                    continue
                try:
                    yield file_name(f"{place}/{name}"), path
                except NameRejected as error:
                    log.warning("a file stays in %s: %s", inside, error)


def _is_there(known: RunFile | None, path: Path) -> bool:
    if known is None or known.place is None:
        return False
    try:
        state = path.stat()
    except FileNotFoundError:
        return True  # it was removed meanwhile; what is in the store is all there is
    return known.size == state.st_size and state.st_mtime <= known.added.timestamp()


def _copy_from_node(file: RunFile, target: Path) -> None:
    source = Path(file.path or "")
    if not source.is_file():
        raise DefinitionRejected(
            file.name, f'it is still on its node, at "{source}"; wait until the run has ended'
        )
    fresh = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, fresh)
        fresh.replace(target)
    except OSError as error:
        raise explain(error, str(target.parent), target.name) from error


@contextlib.contextmanager
def _on_disk(files: Mapping[str, Path | IO[bytes]]) -> Iterator[dict[str, Path]]:
    """All of them as files: a stream can be read once, and sending may need a second time."""
    with tempfile.TemporaryDirectory(prefix="datastores-run-") as folder:
        paths: dict[str, Path] = {}
        for number, (name, source) in enumerate(files.items()):
            if isinstance(source, Path):
                paths[name] = source
            else:
                paths[name] = Path(folder) / str(number)
                with paths[name].open("wb") as file:
                    shutil.copyfileobj(source, file)
        yield paths


def file_datastore(workspace: Workspace, name: str | None) -> FileDatastore:
    """The datastore of this name, or the default one; it must hold files."""
    found = workspace.get_datastore(name) if name else workspace.get_default_datastore()
    if not isinstance(found, FileDatastore):
        raise DefinitionRejected(
            found.name, "it holds rows and a run's files need a store of files; name another"
        )
    return found


def _history(workspace: Workspace) -> RunHistory:
    from datastores.history.run_history import RunHistory

    return RunHistory(workspace.registry, workspace.name)
