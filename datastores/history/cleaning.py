"""The working folder of a run that has ended: what it holds, and its end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datastores.catalog.removal import mounts_below
from datastores.errors import RunRefused, quoted
from datastores.transfer.disk import explain

if TYPE_CHECKING:
    from datastores.history.records import RunRecord
    from datastores.submission.place import RunPlace


def clean(record: RunRecord, *, dry_run: bool = False) -> list[str]:
    """Remove a run's working folder on this machine, and return the paths of what was in it.

    Logs and the report stay. `RunRefused` while anybody works there, while results are in no store
    yet, and while something is mounted there.
    """
    place = _ended_here(record)
    lock = place.take()
    if lock is None:
        raise RunRefused(record.run_id, "is being looked after; wait until its runner has ended")
    try:
        _refuse_busy(record, place)
        work = place.root / "work"
        found = [str(path) for path in _files(work)]
        if not dry_run and work.exists():
            _remove(work)
    finally:
        os.close(lock)
    return found


def _ended_here(record: RunRecord) -> RunPlace:
    from datastores.submission.supervising import place_here

    if not record.is_finished:
        raise RunRefused(
            record.run_id,
            f"is {record.status}; end it with: datastores runs cancel {record.run_id}",
        )
    place = place_here(record)
    if place is None:
        raise RunRefused(
            record.run_id, "has no folder on this machine; clean it on the one it ran on"
        )
    return place


def _refuse_busy(record: RunRecord, place: RunPlace) -> None:
    if not place.agent_is_gone():
        raise RunRefused(record.run_id, "has an agent at work; wait until it has ended")
    if place.has_begun() and (place.load_report() or {}).get("is_settled") is not True:
        raise RunRefused(
            record.run_id,
            f"has results that are in no store yet; send them with: "
            f"datastores runs resume {record.run_id}",
        )
    mounts = [str(at) for at in mounts_below(place.root)]
    if mounts:
        # Removing what is below a mount would remove it from its store.
        raise RunRefused(
            record.run_id,
            f"has mounts in its folder: {quoted(mounts)}; take them away with: "
            f"datastores-agent unmount PATH",
        )


def _files(folder: Path) -> Iterator[Path]:
    """Everything that is no folder; links are named and not followed."""
    for where, folders, names in sorted(os.walk(folder)):
        linked = [name for name in folders if Path(where, name).is_symlink()]
        yield from (Path(where, name) for name in sorted([*names, *linked]))


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise explain(error, str(folder), folder.name) from error
