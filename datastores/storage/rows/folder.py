"""A folder that appears under its name complete or not at all."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datastores.errors import AlreadyExists

_MARK = ".incomplete"


@contextmanager
def new_folder(target: Path, store: str, *, overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `target` that takes its name when the block ends well.

    With `overwrite` the old folder stays until the new one is complete; between its leaving and the
    new one's coming lie two renames.
    """
    _require_absent(target, store, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target)
    aside = Path(tempfile.mkdtemp(_MARK, f".{target.name}.", target.parent))
    lock = _lock(aside)
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())
        _sync(aside)
        _require_absent(target, store, overwrite=overwrite)
        _put_in_place(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _require_absent(target: Path, store: str, *, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(target):
        raise AlreadyExists(store, str(target), "choose another folder, or pass overwrite=True")


def _put_in_place(aside: Path, target: Path) -> None:
    old = aside.with_suffix(".replaced" + _MARK)
    if os.path.lexists(target):
        target.rename(old)
    try:
        aside.rename(target)
    except OSError:
        if os.path.lexists(old):
            old.rename(target)
        raise
    _sync(target.parent)
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


def _remove_stale(target: Path) -> None:
    """Remove what killed runs left; a folder whose lock is held belongs to a living one."""
    for left in target.parent.iterdir():
        if not (left.name.startswith(f".{target.name}.") and left.name.endswith(_MARK)):
            continue
        lock = _lock(left) if left.is_dir() else None
        if lock is not None:
            shutil.rmtree(left)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """A lock that dies with this process; None when another holds it, or on Windows."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return None
    return number


def _sync(folder: Path) -> None:
    if sys.platform == "win32":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
