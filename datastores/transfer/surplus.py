"""Files that the source does not have, for a sync that was asked to delete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datastores.transfer.globs import Globs
from datastores.transfer.options import Options, Symlinks
from datastores.transfer.sources import Found, walk


class Seen:
    """Names that the source has; hashes, because a million names would be 100 MiB more."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def add(self, name: str) -> None:
        self._hashes.add(hash(name.rstrip("/")))

    def __contains__(self, name: str) -> bool:
        return hash(name) in self._hashes


def surplus_files(target: Path, seen: Seen, options: Options) -> Iterator[tuple[str, str]]:
    """Path and name of local files that take part in the transfer and are not in the source.

    Excluded files are nobody's business, and links are never followed.
    """
    globs = Globs.compile(options.include, options.exclude)
    for entry in walk(target, Symlinks.SKIP):
        if isinstance(entry, Found) and globs.admits(entry.name) and entry.name not in seen:
            yield entry.path, entry.name
