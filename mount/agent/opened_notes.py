"""What was opened through an input's mount, among the files of the run until it is listed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from mount.errors import MountError
from mount.fs.version_pages import save_page

# Beside the pages: others used the mount meanwhile, and what they opened is among the rest.
_SHARED = "shared"


def fetch_notes(
    page_after: Callable[[str, float], tuple[str | None, bytes, bool]],
    folder: Path,
    bound_seconds: float,
) -> None:
    """Copy all pages into the folder, which has all of them or is not there."""
    aside = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    deadline = time.monotonic() + bound_seconds
    name, is_shared = "", False
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            reason = f"they did not come within {bound_seconds:.0f} s"
            raise MountError(f"what was opened is not listed: {reason}; allow more time")
        found, text, is_shared = page_after(name, left)
        if found is None:
            break
        name = found
        save_page(aside, name, text)
    if is_shared:
        (aside / _SHARED).touch()
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def is_shared(folder: Path) -> bool:
    """Whether others used the mount meanwhile."""
    return (folder / _SHARED).exists()
