"""Which versions of which files a script was given: a list among the run's logs, and its sum."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datastores.contract import JobSpec
from datastores.contract.job import InputSpec, Reference, folder_name
from datastores.errors import DatastoresError
from mount.agent.inventory import Inventory, write_inventory, write_lines
from mount.agent.mounting import Mounted
from mount.agent.opening import reason_of
from mount.agent.run_folder import RunFolder

log = logging.getLogger(__name__)

_OF_ROWS = "a database has no versions of its rows"
_LATE = "the run ended before they were listed"
_LOST = "no notes are left of what was opened through the mount"
_GAPS = "not everything that was opened could be noted"


class VersionsRead:
    """Lists the inputs of a run, so that nobody waits for the lists.

    Those of downloads come from the records of the transfers while the script runs, those of mounts
    from what the mounts noted when they are gone; hence from every agent of the run alike.
    """

    def __init__(self, spec: JobSpec, folder: RunFolder) -> None:
        self._spec = spec
        self._folder = folder
        self._thread = threading.Thread(
            target=self._list_downloads, name="datastores-lists", daemon=True
        )
        # Each by the thread that works on it, and read when that has ended.
        self._found: dict[str, Mapping[str, Any]] = {}
        self._refused: dict[str, str] = {}

    def begin(self) -> None:
        """Start to list; what a script downloads is complete when it starts."""
        self._thread.start()

    def keep(self, name: str, mounted: Mounted, bound_seconds: float) -> None:
        """Have what was opened through the mount of an input, which is about to go."""
        if self._thread.ident is None or name not in {one.name for one in self._spec.inputs}:
            return
        try:
            mounted.keep_versions(bound_seconds)
        except (DatastoresError, OSError) as error:
            log.warning('the versions of input "%s" are not known: %s', name, reason_of(error))
            self._refused[name] = reason_of(error)

    def settle(self, bound_seconds: float) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each input by name, when the mounts are gone.

        Nothing where no script was started.
        """
        if self._thread.ident is None:
            return {}
        last = threading.Thread(target=self._list_mounts, name="datastores-lists", daemon=True)
        last.start()
        last.join(bound_seconds)
        if last.is_alive():
            log.warning("the versions of some inputs are not listed within %.0f s", bound_seconds)
        found = dict(self._found)
        return {one.name: found.get(one.name, _unknown(_LATE)) for one in self._inputs}

    @property
    def _inputs(self) -> list[Reference]:
        return [*self._spec.inputs, *self._spec.rows]

    def _list_downloads(self) -> None:
        for index, one in enumerate(self._inputs):
            if not isinstance(one, InputSpec):
                self._found[one.name] = _unknown(_OF_ROWS)
            elif self._was_downloaded(index):
                self._found[one.name] = self._told(one, lambda index=index: self._listed(index))  # type: ignore[misc]  # bound now

    def _list_mounts(self) -> None:
        self._thread.join()
        for index, one in enumerate(self._inputs):
            if one.name not in self._found:
                self._found[one.name] = self._told(one, lambda index=index: self._opened(index))  # type: ignore[misc]  # bound now

    def _told(self, one: Reference, tell: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return tell()
        except OSError as error:
            reason = f"their list could not be written: {error.strerror or error}"
            log.warning('the versions of input "%s" are not known: %s', one.name, reason)
            return _unknown(reason)
        except Exception as error:
            log.exception('the list of input "%s" met a defect', one.name)
            return _unknown(f"{type(error).__name__} while listing them")

    def _listed(self, index: int) -> Mapping[str, Any]:
        return self._known(index, lambda target: write_inventory(self._records(index), target))

    def _opened(self, index: int) -> Mapping[str, Any]:
        from mount.agent.opened_notes import is_shared
        from mount.fs.version_pages import Gap, lines

        name, notes = self._inputs[index].name, self._folder.opened(index)
        if name in self._refused:
            return _unknown(self._refused[name])
        if not notes.is_dir():
            return _unknown(_LOST)
        try:
            known = self._known(index, lambda target: write_lines(lines(notes), target))
        except Gap:
            return _unknown(_GAPS)
        return {**known, "how": "opened", "shared": is_shared(notes)}

    def _known(self, index: int, write: Callable[[Path], Inventory]) -> Mapping[str, Any]:
        name = f"{index}-{folder_name(self._inputs[index].name)}.jsonl.gz"
        listed = write(self._folder.inventories / name)
        return {
            "known": True,
            "files": listed.files,
            "bytes": listed.bytes,
            "digest": listed.digest,
            # As it is called among the files of the run.
            "list": f"logs/inputs/{name}",
        }

    def _was_downloaded(self, index: int) -> bool:
        from datastores.transfer.disk import RECORDS

        return (self._records(index) / RECORDS).is_file()

    def _records(self, index: int) -> Path:
        # The engine's place for the records of this input; there are none where it is mounted.
        return self._folder.transfers(len(self._spec.outputs) + index)


def _unknown(why: str) -> Mapping[str, Any]:
    return {"known": False, "why": why}
