"""Inputs as files at their paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datastores import keys
from datastores.contract import InputSpec, QuerySpec, RowsSpec
from datastores.errors import NotFound
from datastores.storage.contract import Patience, Store
from datastores.transfer import Options, Summary, Watcher, download
from mount.agent.leash import Leash
from mount.agent.opening import credential_of, opened
from mount.agent.placement import aside_of, put_in_place

if TYPE_CHECKING:
    from datastores.storage.rows.query import Query


@dataclass(frozen=True, slots=True)
class Fetched:
    """How much an input turned out to be."""

    files: int
    bytes: int


def fetch_files(
    one: InputSpec,
    path: Path,
    records: Path,
    leash: Leash,
    patience: Patience,
    watcher: Watcher,
) -> Fetched:
    """The object at its path, or everything below the folder.

    They gather in a hidden folder beside the path, where the next attempt finds them.
    """
    place, aside = keys.parse_place(one.place), aside_of(path)
    with opened(one.definition, one.lease, leash, patience) as store:
        is_file = _is_file(store, place)
        only = (keys.basename(place),) if is_file else None
        summary = download(
            store,
            place,
            aside,
            strip=keys.parent(place) if is_file else place,
            options=Options(only=only, records=records),
            watcher=watcher,
        )
        if not summary.found:
            _refuse_nothing(store, place)
        complete = aside / keys.basename(place) if is_file else aside
        put_in_place(complete, path, str(one.definition.name), overwrite=one.overwrite)
        if is_file:
            aside.rmdir()
    return Fetched(*_counted(summary))


def fetch_rows(
    one: RowsSpec,
    path: Path,
    leash: Leash,
    patience: Patience,
    progress: Callable[[int, int], None],
) -> Fetched:
    """The rows as a folder of Parquet files, which appears complete or not at all."""
    from datastores.storage.rows.engine import open_engine
    from datastores.storage.rows.parquet import download_rows

    def check(rows: int, size: int) -> None:
        leash.check()
        progress(rows, size)

    engine = open_engine(one.definition, credential_of(one.definition, one.lease), patience)
    try:
        files = download_rows(
            engine, query_of(one.query), path, overwrite=one.overwrite, progress=check
        )
    finally:
        engine.dispose()
    return Fetched(len(files), sum(file.stat().st_size for file in files))


def query_of(spec: QuerySpec) -> Query:
    """What the spec asks of the database."""
    from datastores.storage.rows.query import Query

    parameters = dict(spec.named) or spec.positional or None
    return Query(spec.table, spec.text, spec.procedure, parameters)


def _is_file(store: Store, place: str) -> bool:
    """Whether the place is one object; where there is also a folder of its name, the folder wins."""
    if not place:
        return False
    try:
        store.stat(place)
    except NotFound as missing:
        if missing.key is None:
            raise
        return False
    return not any(page.objects or page.folders for page in store.list_folder(place))


def _refuse_nothing(store: Store, place: str) -> None:
    """An empty folder is fine where one can be told from nothing."""
    if not place:
        return
    above = store.list_folder(keys.parent(place))
    if not any(place in page.folders for page in above):
        raise NotFound(store.label, place, "check the path; capitals count")


def _counted(summary: Summary) -> tuple[int, int]:
    # What an earlier attempt brought was skipped this time.
    return summary.moved + summary.skipped, summary.bytes + summary.resumed_bytes
