"""The folder in which this user's embedded workspaces live."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from datastores.errors import ConfigRejected
from datastores.names import WorkspaceName

HOME_VARIABLE = "DATASTORES_HOME"
REGISTRY_VARIABLE = "DATASTORES_REGISTRY"
REGISTRY_FILE = "registry.db"
VAULT_KEY_FILE = "vault.key"
DATA_FOLDERS = ("blobstore", "filestore")


def home() -> Path:
    """`$DATASTORES_HOME`, or the user's data folder."""
    given = os.environ.get(HOME_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else _user_folder() / ".local" / "share") / "datastores"


def _user_folder() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigRejected(
            "home folder", f"this user has none; set {HOME_VARIABLE} to a folder"
        ) from error


def make_writable(folder: Path, remedy: str = "") -> None:
    """Make a folder that must be written to; the error says how to choose another place."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        why = "" if os.access(folder, os.W_OK | os.X_OK) else "Permission denied"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise ConfigRejected(
            str(folder),
            f"this folder cannot be written to ({why}); "
            f"set {HOME_VARIABLE} to a folder that can{remedy}",
        )


def workspace_folder(name: WorkspaceName) -> Path:
    """The one folder of an embedded workspace."""
    return home() / "workspaces" / name


def workspace_folders() -> Iterator[Path]:
    """Folders that hold an embedded workspace, in order of their names."""
    folder = home() / "workspaces"
    if folder.is_dir():
        yield from sorted(child for child in folder.iterdir() if (child / REGISTRY_FILE).is_file())


def default_registry(name: WorkspaceName) -> str:
    """Where a workspace's records are when nobody says: `$DATASTORES_REGISTRY`, or its folder."""
    return os.environ.get(REGISTRY_VARIABLE) or str(workspace_folder(name) / REGISTRY_FILE)


def embedded_folder(name: WorkspaceName, registry_place: str) -> Path:
    """The folder beside the registry; for a database, the one this user would have had."""
    if "://" in registry_place:
        return workspace_folder(name)
    return Path(registry_place).parent
