"""The leases of a running job, kept in memory so that a restarted agent finds them.

A file on tmpfs, readable by its owner alone: it outlives the agent, never reaches a disk, and is
gone after the machine restarts. Then the run is resumed with its spec given again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from dataclasses import replace
from pathlib import Path

from datastores.contract import JobSpec, SnapshotSource, from_json, to_json

_MEMORY = Path("/dev/shm")  # noqa: S108  # tmpfs is the point; the folder inside is private
# The longest that Azure lets a delegated signature live.
_OLD_SECONDS = 7 * 86400.0


def without_leases(spec: JobSpec) -> JobSpec:
    """The spec as it may be written to a disk."""
    source = spec.source
    return replace(
        spec,
        source=replace(source, lease=None) if isinstance(source, SnapshotSource) else source,
        inputs=tuple(replace(one, lease=None) for one in spec.inputs),
        rows=tuple(replace(one, lease=None) for one in spec.rows),
        outputs=tuple(replace(one, lease=None) for one in spec.outputs),
    )


def keep(root: Path, spec: JobSpec) -> None:
    """Remember the leases of the run in this folder; nothing is kept where there is no tmpfs."""
    if without_leases(spec) == spec:
        return
    path = _path(root)
    # Without tmpfs nothing is kept, and a resume asks for the spec.
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        mine = path.parent.lstat()
        if mine.st_uid != os.getuid() or not stat.S_ISDIR(mine.st_mode):
            return
        _forget_old(path.parent)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(to_json(spec))


def forget(root: Path) -> None:
    """The run has ended and needs them no more."""
    with contextlib.suppress(OSError):
        _path(root).unlink()


def with_leases(root: Path, spec: JobSpec) -> JobSpec:
    """The spec with the leases that are still remembered."""
    try:
        path = _path(root)
        if path.stat().st_uid != os.getuid():
            return spec
        kept = from_json(path.read_text(encoding="utf-8"))
    except OSError:
        return spec
    return kept if without_leases(kept) == spec else spec


def _forget_old(folder: Path) -> None:
    """Runs that nobody resumed: their leases have ended long ago."""
    for path in folder.iterdir():
        if path.stat().st_mtime < time.time() - _OLD_SECONDS:
            path.unlink()


def _path(root: Path) -> Path:
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
    # The user's own tmpfs where the system gives one.
    memory = Path(os.environ.get("XDG_RUNTIME_DIR") or _MEMORY)
    return memory / f"datastores-{os.getuid()}" / name
