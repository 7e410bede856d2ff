"""What the source does not have, for a sync that was asked to delete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datastores import keys
from datastores.errors import DefinitionRejected, NotFound
from datastores.transfer.crew import Work
from datastores.transfer.globs import Globs
from datastores.transfer.options import Options, Symlinks
from datastores.transfer.sources import Found, walk

if TYPE_CHECKING:
    from datastores.storage.contract import Store
    from datastores.transfer.ledger import Ledger


class Seen:
    """Names that the source has; hashes, because a million names would be 100 MiB more."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def add(self, name: str) -> None:
        self._hashes.add(hash(name.rstrip("/")))

    def __contains__(self, name: str) -> bool:
        return hash(name) in self._hashes


def refuse_no_folder(store: Store, place: str) -> None:
    """Raise unless something is below the place; otherwise a typing error would delete everything."""
    if any(page.objects for page in store.list(f"{place}/" if place else "")):
        return
    if place:
        # `NotFound` from here says it all.
        store.stat(place)
        why = f'"{place}" is a single object; name a folder, or leave out `delete`'
        raise DefinitionRejected("delete", why)
    raise NotFound(store.label, None, "nothing is there, so nothing is deleted; check the place")


def surplus_files(
    target: Path, below: str, seen: Seen, options: Options
) -> Iterator[tuple[str, str]]:
    """Path and name of local files below a name that take part and are not in the source.

    Excluded files are nobody's business, and links are never followed.
    """
    globs = Globs.compile(options.include, options.exclude)
    for entry in walk(target, Symlinks.SKIP):
        if (
            isinstance(entry, Found)
            and keys.is_below(entry.name, below)
            and globs.admits(entry.name)
            and entry.name not in seen
        ):
            yield entry.path, entry.name


def surplus_objects(
    store: Store,
    place: str,
    seen: Seen,
    options: Options,
    ledger: Ledger,
    fail: Callable[[str, Exception], None],
) -> Iterator[Work]:
    """The work of deleting objects below the place that take part and are not in the source."""
    globs = Globs.compile(options.include, options.exclude)
    for page in store.list(f"{place}/" if place else ""):
        for info in page.objects:
            name = keys.relative(info.key, place)
            # Markers of folders stay: some stores delete what is in the folder with them.
            if info.key.endswith("/") or not globs.admits(name) or name in seen:
                continue
            if options.dry_run:
                ledger.skipped(name, "would be deleted")
            else:
                yield Work(_Delete(store, info.key, name, ledger, fail))


class _Delete:
    """The work of removing one object."""

    __slots__ = ("_fail", "_key", "_ledger", "_name", "_store")

    def __init__(
        self,
        store: Store,
        key: str,
        name: str,
        ledger: Ledger,
        fail: Callable[[str, Exception], None],
    ) -> None:
        self._store = store
        self._key = key
        self._name = name
        self._ledger = ledger
        self._fail = fail

    def __call__(self) -> int | None:
        try:
            self._store.delete(self._key)
        except Exception as error:  # noqa: BLE001  # reported with the object's name
            self._fail(self._name, error)
        else:
            self._ledger.deleted(self._name)
        return None
