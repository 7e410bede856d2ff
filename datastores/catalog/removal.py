"""What goes with an embedded workspace: found first, so that it can be shown, then removed.

The folder may be somebody's project, so only what is known to be ours is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from datastores.catalog.home import DATA_FOLDERS, REGISTRY_FILE, VAULT_KEY_FILE
from datastores.errors import ConfigRejected, DefinitionRejected, quoted
from datastores.value import Value

_REGISTRY = tuple(REGISTRY_FILE + suffix for suffix in ("", "-wal", "-shm", "-journal"))
_RUNS, _CACHE = "runs", "cache"
# The order that every submitted run has in its folder, and the locks of who works there.
_ORDER, _LOCKS = "order.json", ("runner.lock", "lock")
# All that a node's cache has in the folder of its version, and the file without which it is none;
# beside that lie the locks of downloads.
_VERSION, _LEDGER, _FETCHING = "v[0-9]*", "usage", "fetching"
_CACHED = {_LEDGER, "evicting", "beginning", "incoming", "files", "partial"}


class Removal(Value):
    """What is to go, and what stays although it is the workspace's."""

    folder: Path
    goes: tuple[Path, ...] = ()
    # Data that was not asked for, and runs whose results are in no store.
    stays: tuple[Path, ...] = ()

    def carry_out(self) -> None:
        """Remove what is to go, and each folder around it that is empty then."""
        if self.folder / REGISTRY_FILE in self.goes:
            for name in _REGISTRY:
                # Closing the registry may have left some behind.
                (self.folder / name).unlink(missing_ok=True)
        for path in self.goes:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for around in (self.folder / _RUNS, self.folder / _CACHE, self.folder):
            with contextlib.suppress(OSError):
                # What is not empty has something of somebody else, and rmdir leaves it.
                around.rmdir()


def plan_removal(folder: Path, *, is_embedded: bool, has_others: bool, data: bool) -> Removal:
    """What goes with the workspace of this folder; `data` includes its two stores and lost results.

    `has_others` tells whether its registry serves other workspaces. `DefinitionRejected` while one
    of its runs is at work or holds a mount.
    """
    is_shared = has_others if is_embedded else (folder / REGISTRY_FILE).exists()
    if is_shared:
        # Nobody can tell whose runs these are: those of a namesake, or of all in the registry.
        return Removal(folder)
    runs = [one.parent for one in sorted((folder / _RUNS).glob(f"*/{_ORDER}"))]
    _refuse_busy(runs)
    kept = [] if data else [one for one in runs if _holds_results(one)]
    stores = [folder / name for name in DATA_FOLDERS if (folder / name).is_dir()]
    empty = [one for one in stores if data or not any(one.iterdir())]
    # The key of a database may be that of the others in it.
    names = () if has_others else (*_REGISTRY, VAULT_KEY_FILE)
    own = [folder / name for name in names if (folder / name).exists()]
    gone = [*own, *empty, *(one for one in runs if one not in kept), *_cached(folder / _CACHE)]
    return Removal(folder, tuple(gone), tuple(one for one in (*stores, *kept) if one not in gone))


def _cached(cache: Path) -> Iterator[Path]:
    ours = [
        one
        for one in sorted(cache.glob(_VERSION))
        if (one / _LEDGER).is_file() and {child.name for child in one.iterdir()} <= _CACHED
    ]
    yield from ours
    if ours and (cache / _FETCHING).is_dir():
        yield cache / _FETCHING


def _refuse_busy(runs: list[Path]) -> None:
    busy = [one.name for one in runs if any(_is_held(one / name) for name in _LOCKS)]
    if busy:
        raise DefinitionRejected(
            "workspace",
            f"its runs are at work: {quoted(busy)}; "
            f'end them with "datastores runs cancel RUN --wait"',
        )
    mounts = [str(at) for one in runs for at in mounts_below(one)]
    if mounts:
        # Removing what is below a mount would remove it from its store.
        raise DefinitionRejected(
            "workspace",
            f"something is mounted in the folders of its runs: {quoted(mounts)}; "
            f'take it away with "datastores-agent unmount PATH"',
        )


def _is_held(lock: Path) -> bool:
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigRejected(
            str(lock), f"it cannot be opened ({error.strerror}); correct its permissions"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def mounts_below(folder: Path) -> Iterator[Path]:
    """Where something is mounted in a folder, or on it."""
    root = folder.resolve()
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        # No Linux, hence no mounts of ours.
        return
    for line in lines:
        # The kernel writes blanks in paths as three octal digits.
        at = Path(line.split(" ")[4].encode().decode("unicode_escape"))
        if at.is_relative_to(root):
            yield at


def _holds_results(run: Path) -> bool:
    """Whether a run began and its agent does not say that everything is in its store."""
    if not (run / "journal").exists():
        return False
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return report.get("is_settled") is not True
