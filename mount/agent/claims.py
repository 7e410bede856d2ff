"""Which output an object belongs to, so that no two of one run write over each other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable

from datastores.contract import OutputMode, OutputSpec
from datastores.definitions import Definition, to_wire
from datastores.errors import AlreadyExists
from datastores.keys import parse_place
from mount.errors import SpecRejected

_ADVICE = "give each output a place of its own"


class Claims:
    """One for all outputs of a run; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Under the lock: the output by store and key.
        self._owners: dict[tuple[str, str], str] = {}

    def claim(self, output: str, definition: Definition, keys: Iterable[str]) -> None:
        """From now on these objects are this output's; `AlreadyExists` when one is another's."""
        store = _store_of(definition)
        with self._lock:
            for key in keys:
                owner = self._owners.setdefault((store, key), output)
                if owner != output:
                    detail = f'output "{owner}" of this run writes it as well; {_ADVICE}'
                    raise AlreadyExists(definition.name, key, detail)


def refuse_shared_places(outputs: Iterable[OutputSpec]) -> None:
    """`SpecRejected` for two outputs that can be seen beforehand to be one folder of one store.

    An output with a path of its own may be a single file, and several files may share a folder.
    """
    seen: dict[tuple[str, str], str] = {}
    for one in outputs:
        if one.path_on_compute is None or one.mode is OutputMode.MOUNT:
            place = parse_place(one.place)
            other = seen.setdefault((_store_of(one.definition), place), one.name)
            if other != one.name:
                raise SpecRejected(
                    f'outputs "{other}" and "{one.name}" both go to "{place}" in '
                    f'"{one.definition.name}"; {_ADVICE}'
                )


def _store_of(definition: Definition) -> str:
    """The place that a definition names, whatever it is called."""
    return json.dumps(to_wire(definition) | {"name": None}, sort_keys=True)
