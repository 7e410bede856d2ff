"""A folder whose objects may be read by forked processes, and a look at those."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from datastores.storage.local import LocalStore
from datastores.storage.local_file import LocalStream


class ForkedStore(LocalStore):
    """A folder that says it may be read in a child, and something done before each read."""

    def __init__(self, root: Path, before: Callable[[str], None] = lambda _: None) -> None:
        super().__init__("folder", root)
        self.features = replace(self.features, survives_fork=True)
        self._before = before

    def read(self, key: str, **options: Any) -> LocalStream:
        self._before(key)
        return super().read(key, **options)


def children(of: int | None = None) -> set[int]:
    """The processes that this one, or another, started and has not taken leave of."""
    wanted = os.getpid() if of is None else of
    found = {int(path.name): _parent(path) for path in Path("/proc").glob("[0-9]*")}
    return {pid for pid, parent in found.items() if parent == wanted}


def _parent(process: Path) -> int | None:
    try:
        # The name before it may have blanks and brackets in it.
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None  # it has ended
