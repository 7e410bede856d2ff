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


def children() -> set[int]:
    """The processes that this one started and has not taken leave of."""
    task = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    others = [
        path.read_text()
        for path in Path("/proc/self/task").glob("*/children")
        if path.parent.name != str(os.getpid())
    ]
    return {int(number) for text in [task, *others] for number in text.split()}
