"""Which versions of which files a script was given: a list among the run's logs, and its sum."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from datastores.contract import JobSpec
from datastores.contract.job import InputSpec, Reference, folder_name
from mount.agent.run_folder import RunFolder

log = logging.getLogger(__name__)

_OF_ROWS = "a database has no versions of its rows"
_OF_MOUNTS = "a mount does not tell which versions were opened"


class VersionsRead:
    """Lists the inputs of a run while its script runs, so that nobody waits for the lists.

    They come from the records of the transfers, hence from every agent of the run alike.
    """

    def __init__(self, spec: JobSpec, folder: RunFolder) -> None:
        self._spec = spec
        self._folder = folder
        self._thread = threading.Thread(target=self._list, name="datastores-lists", daemon=True)
        # Of the thread, until it has ended.
        self._found: dict[str, Mapping[str, Any]] = {}

    def begin(self) -> None:
        """Start to list; what a script reads is complete when it starts."""
        self._thread.start()

    def settle(self, bound_seconds: float) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each input by name; nothing where no script was started."""
        if self._thread.ident is None:
            return {}
        self._thread.join(bound_seconds)
        if self._thread.is_alive():
            log.warning("the versions of some inputs are not listed within %.0f s", bound_seconds)
        late = _unknown("the run ended before they were listed")
        found = dict(self._found)
        return {one.name: found.get(one.name, late) for one in self._inputs}

    @property
    def _inputs(self) -> list[Reference]:
        return [*self._spec.inputs, *self._spec.rows]

    def _list(self) -> None:
        for index, one in enumerate(self._inputs):
            try:
                self._found[one.name] = self._listed(index, one)
            except OSError as error:
                reason = f"their list could not be written: {error.strerror or error}"
                log.warning('the versions of input "%s" are not known: %s', one.name, reason)
                self._found[one.name] = _unknown(reason)
            except Exception as error:
                log.exception('the list of input "%s" met a defect', one.name)
                self._found[one.name] = _unknown(f"{type(error).__name__} while listing them")

    def _listed(self, index: int, one: Reference) -> Mapping[str, Any]:
        if not isinstance(one, InputSpec):
            return _unknown(_OF_ROWS)
        # The engine's place for the records of this input; there are none where it is mounted.
        records = self._folder.transfers(len(self._spec.outputs) + index)
        from datastores.transfer.disk import RECORDS

        if not (records / RECORDS).is_file():
            return _unknown(_OF_MOUNTS)
        from mount.agent.inventory import write_inventory

        name = f"{index}-{folder_name(one.name)}.jsonl.gz"
        listed = write_inventory(records, self._folder.inventories / name)
        return {
            "known": True,
            "files": listed.files,
            "bytes": listed.bytes,
            "digest": listed.digest,
            # As it is called among the files of the run.
            "list": f"logs/inputs/{name}",
        }


def _unknown(why: str) -> Mapping[str, Any]:
    return {"known": False, "why": why}
