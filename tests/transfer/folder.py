"""A local folder as a value, for comparison in one piece."""

from __future__ import annotations

from pathlib import Path

from datastores.storage.contract import Store
from datastores.transfer.disk import is_ours


def files_in(folder: Path) -> dict[str, bytes]:
    """Name and bytes of every file that is not the engine's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not is_ours(path.name)
    }


def hidden_in(folder: Path) -> list[str]:
    """The engine's own files, apart from the records every download leaves."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if is_ours(path.name) and path.name != ".datastores-records"
    )


def objects_in(store: Store, prefix: str = "") -> dict[str, bytes]:
    """Key and bytes of every object."""
    found = {}
    for page in store.list(prefix):
        for info in page.objects:
            with store.read(info.key) as stream:
                found[info.key] = b"".join(memoryview(piece) for piece in stream)
    return found
