"""Things get their path when they are complete, and not before."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from datastores.errors import AlreadyExists

_MARK = ".datastores-staging"


def aside_of(path: Path) -> Path:
    """Where the files for a path gather: hidden, beside it, the same after a restart."""
    name = f".{path.name}{_MARK}"
    if len(os.fsencode(name)) > 255:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}{_MARK}"
    return path.with_name(name)


def refuse_taken(path: Path, label: str, *, overwrite: bool) -> None:
    """`AlreadyExists` when something is at the path that may not be replaced."""
    if not overwrite and os.path.lexists(path) and not _is_empty_folder(path):
        raise AlreadyExists(
            label,
            str(path),
            "on this node; choose another path_on_compute, or set overwrite to replace it",
        )


def put_in_place(complete: Path, path: Path, label: str, *, overwrite: bool) -> None:
    """Give what is complete its path, in place of what may be replaced."""
    refuse_taken(path, label, overwrite=overwrite)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path) and complete.is_dir():
        path.unlink()
    complete.rename(path)


def _is_empty_folder(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return next(entries, None) is None
