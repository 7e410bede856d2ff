"""Objects of a store as files in a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from datastores import keys
from datastores.errors import NotFound
from datastores.storage.contract import ObjectInfo, Store
from datastores.transfer import disk
from datastores.transfer.crew import Crew, Work
from datastores.transfer.failures import save_failures
from datastores.transfer.hosts import budget_for
from datastores.transfer.large_file import LargeFetch
from datastores.transfer.ledger import Ledger
from datastores.transfer.options import Options
from datastores.transfer.planning import (
    DownloadStep,
    Fetch,
    LocalState,
    MakeFolder,
    Refuse,
    Skip,
    plan_download,
)
from datastores.transfer.records import Records
from datastores.transfer.session import Session
from datastores.transfer.small_file import fetch_small
from datastores.transfer.space import Space
from datastores.transfer.summary import Summary
from datastores.transfer.surplus import Seen, surplus_files
from datastores.transfer.watcher import Silent, Watcher

# What a small file holds while it is on its way.
SMALL_WEIGHT = 1 << 20


def download(
    store: Store,
    place: str,
    target: Path,
    *,
    strip: str = "",
    options: Options | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Bring the object `place`, or everything below it, into the folder `target`.

    Local names are the keys without `strip`. A file appears under its name when it is complete.
    `TransferFailed` at the end names every file that did not arrive; the others stay, and the same
    call moves what is missing, down to single ranges. A place with nothing in it gives an empty
    summary.
    """
    options = options or Options()
    watcher = watcher or Silent()
    ledger = Ledger(watcher)
    try:
        if options.dry_run:
            _rehearse(store, place, target, strip, options, ledger)
        else:
            _make_folder(target)
            _run(store, place, target, strip, options, ledger)
        return ledger.settle()
    finally:
        watcher.close()


def listing(store: Store, place: str) -> Iterator[ObjectInfo]:
    """The object `place` and what lies below `place/`, never `placebo`; as pages arrive."""
    for page in store.list(f"{place}/" if place else ""):
        yield from page.objects
    if place:
        try:
            yield store.stat(place)
        except NotFound:
            return


def named(store: Store, names: Sequence[str], strip: str) -> Iterator[ObjectInfo | Refuse]:
    """These objects, without a listing."""
    for name in names:
        try:
            yield store.stat(keys.join(strip, name))
        except NotFound as missing:
            yield Refuse(name, missing)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk.explain(error, str(folder), folder.name) from error


def _steps(
    store: Store, place: str, target: Path, strip: str, options: Options, records: Records | None
) -> Iterator[DownloadStep]:
    find = records.find if records else lambda _: None
    local = LocalState(target, _look, find, case_insensitive=disk.ignores_case(target))
    only = options.only
    objects: Iterable[ObjectInfo | Refuse] = (
        listing(store, place) if only is None else named(store, only, strip)
    )
    return plan_download(objects, strip, local, store.identity, options)


def _rehearse(
    store: Store, place: str, target: Path, strip: str, options: Options, ledger: Ledger
) -> None:
    folder = options.records or target
    # Reading the log must not make it.
    records = Records.open(folder) if (folder / disk.RECORDS).exists() else None
    seen = Seen() if options.delete else None
    try:
        for step in _steps(store, place, target, strip, options, records):
            match step:
                case Fetch(info=info, name=name):
                    ledger.found(info.size)
                    ledger.skipped(name, "would be fetched")
                case Skip(name=name, why=why, size=size):
                    ledger.found(size)
                    ledger.skipped(name, why)
                case MakeFolder(name=name):
                    pass
                case Refuse(name=name, error=error):
                    ledger.found(0)
                    ledger.failed(name, error)
            if seen is not None:
                seen.add(step.name)
        if seen is not None:
            for path, name in surplus_files(target, seen, options):
                ledger.skipped(name, f"would be deleted: {path}")
    finally:
        if records is not None:
            records.close()


def _run(
    store: Store, place: str, target: Path, strip: str, options: Options, ledger: Ledger
) -> None:
    folder = options.records or target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        records = Records.open(folder)
    except OSError as error:
        raise disk.explain(error, str(folder), disk.RECORDS) from error
    budget = budget_for(store.identity)
    crew = Crew(budget, options.limits)
    space = Space(str(target), lambda: disk.free_bytes(target))
    session = Session(store, target, options, ledger, records, crew, budget, space)
    seen = Seen() if options.delete else None
    complete, refusals = False, budget.refusals
    try:
        crew.run(_works(session, _steps(store, place, target, strip, options, records), seen))
        complete = not crew.gave_up
        if seen is not None and complete and not ledger.summary().failed:
            _delete_surplus(session, seen)
    finally:
        for large in list(session.open_files):
            large.close()
        records.close()
        ledger.retried(budget.refusals - refusals)
        save_failures(folder, ledger.summary().failures, complete=complete)


def _delete_surplus(session: Session, seen: Seen) -> None:
    for path, name in surplus_files(session.target, seen, session.options):
        try:
            disk.discard(path)
        except OSError as error:
            session.fail(name, error)
        else:
            session.ledger.deleted(name)


def _works(session: Session, steps: Iterable[DownloadStep], seen: Seen | None) -> Iterator[Work]:
    ledger, options = session.ledger, session.options
    for step in steps:
        if seen is not None:
            seen.add(step.name)
        match step:
            case Fetch(info=info, name=name):
                ledger.found(info.size)
                # How much of a sparse file is holes is known only when it is here.
                session.space.plan(0 if options.sparse else info.size)
                if info.size > options.small_bytes:
                    session.space.settle(disk.blocks_of(disk.hidden_beside(step.path, disk.PART)))
                    yield Work(LargeFetch(session, step).open)
                else:
                    yield Work(_Small(session, step), min(info.size, SMALL_WEIGHT))
            case Skip(name=name, why=why, size=size):
                ledger.found(size)
                ledger.skipped(name, why)
            case MakeFolder(name=name, path=path):
                try:
                    session.make_folder(path)
                except OSError as error:
                    session.fail(name, error)
            case Refuse(name=name, error=error):
                ledger.found(0)
                session.fail(name, error)


class _Small:
    """The work of fetching one small object."""

    __slots__ = ("_fetch", "_session")

    def __init__(self, session: Session, fetch: Fetch) -> None:
        self._session = session
        self._fetch = fetch

    def __call__(self) -> int | None:
        try:
            return fetch_small(self._session, self._fetch)
        except Exception as error:  # noqa: BLE001  # reported with the file's name
            self._session.fail(self._fetch.name, error)
            return None
        finally:
            self._session.space.settle(self._fetch.info.size)


def _look(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path per file costs 4 us
    except (FileNotFoundError, NotADirectoryError):
        return None
    # A folder of the name is no reason to skip: publishing will say that it is in the way.
    return None if stat.S_ISDIR(status.st_mode) else status
