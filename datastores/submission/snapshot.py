"""The source folder in a datastore, as it was when the run was submitted."""

from __future__ import annotations

from pathlib import Path

from datastores.catalog.workspace import Workspace
from datastores.contract import SnapshotSource
from datastores.contract.ignoring import files_below
from datastores.submission.place import RunPlace


def send_snapshot(
    workspace: Workspace, folder: Path, source: SnapshotSource, place: RunPlace
) -> None:
    """Copy the folder's files to where the job looks for them, but those that are to stay."""
    from datastores import transfer
    from datastores.storage.open import open_store

    definition, credential = workspace.registry.unlock(workspace.name, source.definition.name)
    store = open_store(definition.definition, credential)
    try:
        transfer.upload(
            store,
            [transfer.Source(folder / name, name) for name in files_below(folder)],
            source.place,
            options=transfer.Options(
                overwrite=transfer.Overwrite.ALWAYS, records=place.root / "snapshot"
            ),
        )
    finally:
        store.close()
