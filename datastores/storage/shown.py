"""How far a listing came, for whoever goes on with another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datastores.storage.contract import Page


@dataclass(slots=True)
class Shown:
    """What a listing has shown, so that a second one can be cut to what the first did not."""

    objects_to: str = ""
    folders_to: str = ""
    in_order: bool = True
    resuming: bool = False

    def unseen(self, page: Page) -> Page:
        """The page without what was shown before, which counts as shown from now on."""
        objects, folders = page.objects, page.folders
        if self.resuming:
            objects = [info for info in objects if info.key > self.objects_to]
            folders = [folder for folder in folders if folder > self.folders_to]
        self.objects_to = self._advance(self.objects_to, [info.key for info in objects])
        self.folders_to = self._advance(self.folders_to, folders)
        return Page(objects, folders) if self.resuming else page

    def _advance(self, last: str, keys: Sequence[str]) -> str:
        for key in keys:
            self.in_order = self.in_order and key > last
            last = key
        return last
