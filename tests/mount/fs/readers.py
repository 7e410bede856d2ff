"""Readers who take their time, and stores whose pages show what is there when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator

from datastores.storage.contract import Page
from datastores.storage.memory import MemoryStore
from mount.fs.contract import Kind
from mount.fs.listing import order
from tests.mount.fs.kernel import KernelInMiniature


class LiveStore(MemoryStore):
    """Each page shows what is there when it is asked for, as pages of real stores do."""

    def list_folder(self, place: str = "") -> Iterator[Page]:
        last = ""
        while True:
            names = [
                (order(key, kind), key, kind)
                for page in super().list_folder(place)
                for kind, keys in (
                    (Kind.FILE, [info.key for info in page.objects]),
                    (Kind.FOLDER, page.folders),
                )
                for key in keys
            ]
            some = sorted(one for one in names if one[0] > last)[: self.page_size]
            if not some:
                return
            last = some[-1][0]
            yield Page(
                [self.stat(key) for _, key, kind in some if kind is Kind.FILE],
                [key for _, key, kind in some if kind is Kind.FOLDER],
            )


class SlowReader:
    """Somebody who reads a folder as he likes."""

    def __init__(self, kernel: KernelInMiniature, handle: int) -> None:
        self._kernel = kernel
        self.handle = handle
        self.cookie = 0
        self.is_done = False

    def some(self, most: int) -> list[str]:
        """The next names."""
        names: list[str] = []
        while len(names) < most:
            children = self._kernel.page(self.handle, self.cookie, min(7, most - len(names)))
            self.is_done = not children
            if self.is_done:
                break
            self.cookie = children[-1].cookie
            names += [os.fsdecode(child.name) for child in children]
        return names

    def rest(self) -> list[str]:
        """All names that come yet."""
        return self.some(1 << 30)
