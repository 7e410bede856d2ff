"""Inputs as files at their paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datastores import keys
from datastores.contract import InputSpec, LeaseSpec, QuerySpec, RowsSpec
from datastores.errors import CredentialError, DiskFull, NotFound, TransferFailed
from datastores.storage.contract import Patience, Store
from datastores.transfer import Options, Summary, Watcher, download
from datastores.value import Value, field
from mount.agent.download_cache import DownloadCache
from mount.agent.leash import Leash
from mount.agent.opening import credential_of, opened
from mount.agent.placement import aside_of, put_in_place
from mount.leases import RenewableLease

if TYPE_CHECKING:
    from datastores.storage.rows.query import Query


class Fetched(Value):
    """How much an input turned out to be, and where it came from."""

    files: int
    bytes: int
    counters: Mapping[str, int | float] = field(default_factory=dict)


def fetch_files(
    one: InputSpec,
    lease: RenewableLease,
    path: Path,
    records: Path,
    leash: Leash,
    patience: Patience,
    cache: DownloadCache | None,
    watching: Callable[[], Watcher],
) -> Fetched:
    """The object at its path, or everything below the folder.

    They gather in a hidden folder beside the path, where the next attempt finds them. What does
    not fit on the disk beside the cache is fetched again after the cache has given way.
    """
    with opened(one.definition, lease, leash, patience) as store:
        if cache is None or not cache.serves(one.definition):
            return _fetch_files(one, store, path, records, watching())
        cached = cache.store(store, leash.check)
        try:
            fetched = _fetch_files(one, cached, path, records, watching())
        except (TransferFailed, DiskFull) as error:
            if not _is_full(error) or not cache.give_way():
                raise
            return _fetch_files(one, store, path, records, watching())
    return replace(fetched, counters=cached.counters())


def _is_full(error: TransferFailed | DiskFull) -> bool:
    causes = (
        [cause for _, cause in error.failures] if isinstance(error, TransferFailed) else [error]
    )
    return any(isinstance(cause, DiskFull) for cause in causes)


def _fetch_files(
    one: InputSpec, store: Store, path: Path, records: Path, watcher: Watcher
) -> Fetched:
    place, aside = keys.parse_place(one.place), aside_of(path)
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
    lease: RenewableLease,
    path: Path,
    leash: Leash,
    patience: Patience,
    progress: Callable[[int, int], None],
) -> Fetched:
    """The rows as a folder of Parquet files, which appears complete or not at all.

    What a database refuses is asked again from the start when a newer lease comes.
    """
    while True:
        number, spec = lease.current(leash.check)
        try:
            return _fetch_rows(one, spec, path, leash, patience, progress)
        except CredentialError as error:
            lease.refused(number, error, leash.check)


def _fetch_rows(
    one: RowsSpec,
    spec: LeaseSpec | None,
    path: Path,
    leash: Leash,
    patience: Patience,
    progress: Callable[[int, int], None],
) -> Fetched:
    from datastores.storage.rows.engine import open_engine
    from datastores.storage.rows.parquet import download_rows

    def check(rows: int, size: int) -> None:
        leash.check()
        progress(rows, size)

    engine = open_engine(one.definition, credential_of(one.definition, spec), patience)
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
