"""Objects of a store as files in a folder."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from datastores import keys
from datastores.errors import DatastoresError, DefinitionRejected, NotFound
from datastores.storage.contract import ObjectInfo, Store
from datastores.transfer import disk
from datastores.transfer.crew import Crew, Work
from datastores.transfer.failures import save_failures
from datastores.transfer.hosts import budget_for
from datastores.transfer.lanes import Lanes, possible_lanes
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
from datastores.transfer.smalls import Smalls
from datastores.transfer.space import Space
from datastores.transfer.summary import Summary
from datastores.transfer.surplus import Seen, refuse_no_folder, surplus_files
from datastores.transfer.watcher import Silent, Watcher
from datastores.value import Value

_ASK_AT_ONCE = 16


def download(
    store: Store,
    place: str,
    target: Path,
    *,
    strip: str = "",
    name: str | None = None,
    options: Options | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Bring the object `place`, or everything below it, into the folder `target`.

    Local names are the keys without `strip`; with `name`, the place is one object (`NotFound` when
    it is not) and this is its local name. A file appears under its name when it is complete.
    `TransferFailed` at the end names every file that did not arrive; the others stay, and the same
    call moves what is missing, down to single ranges. A place with nothing in it gives an empty
    summary.
    """
    options = options or Options()
    watcher = watcher or Silent()
    ledger = Ledger(watcher)
    source = _Source(store, place, strip, name)
    try:
        source.refuse_contradictions(options)
        if options.dry_run:
            _rehearse(source, target, options, ledger)
        else:
            _make_folder(target)
            _run(source, target, options, ledger)
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
    """These objects in this order, without a listing; asked for in parallel, a little ahead."""
    asking = ThreadPoolExecutor(_ASK_AT_ONCE, "datastores-names")
    waiting: deque[tuple[str, Future[ObjectInfo]]] = deque()
    try:
        for name in names:
            waiting.append((name, asking.submit(store.stat, keys.join(strip, name))))
            if len(waiting) > _ASK_AT_ONCE:
                yield _answer(*waiting.popleft())
        while waiting:
            yield _answer(*waiting.popleft())
    finally:
        asking.shutdown(wait=False, cancel_futures=True)


def _answer(name: str, asked: Future[ObjectInfo]) -> ObjectInfo | Refuse:
    try:
        return asked.result()
    except DatastoresError as error:
        return Refuse(name, error)


class _Source(Value):
    """What is to be brought here, and how it is called locally."""

    store: Store
    place: str
    strip: str
    name: str | None

    def refuse_contradictions(self, options: Options) -> None:
        """Raise when what is asked for cannot be meant."""
        if self.name is not None and (options.delete or options.only is not None):
            why = "it goes with one object; leave out `only` and `delete`"
            raise DefinitionRejected("name", why)
        if options.delete:
            refuse_no_folder(self.store, self.place)

    def objects(self, options: Options) -> Iterable[ObjectInfo | Refuse]:
        if self.name is not None:
            return [self.store.stat(self.place)]
        if options.only is not None:
            return named(self.store, options.only, self.strip)
        return listing(self.store, self.place)

    @property
    def below(self) -> str:
        """The local name of the place; empty when that is the target itself."""
        return "" if self.place == self.strip else keys.relative(self.place, self.strip)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk.explain(error, str(folder), folder.name) from error


def _steps(
    source: _Source, target: Path, options: Options, records: Records | None
) -> Iterator[DownloadStep]:
    find = records.find if records else lambda _: None
    local = LocalState(target, _look, find, case_insensitive=disk.ignores_case(target))
    return plan_download(
        source.objects(options), source.strip, local, source.store.identity, options, source.name
    )


def _rehearse(source: _Source, target: Path, options: Options, ledger: Ledger) -> None:
    folder = options.records or target
    # Reading the log must not make it.
    records = Records.open(folder) if (folder / disk.RECORDS).exists() else None
    seen = Seen() if options.delete else None
    try:
        for step in _steps(source, target, options, records):
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
        if seen is not None and not ledger.summary().failed:
            for path, name in surplus_files(target, source.below, seen, options):
                ledger.skipped(name, f"would be deleted: {path}")
    finally:
        if records is not None:
            records.close()


def _run(source: _Source, target: Path, options: Options, ledger: Ledger) -> None:
    store, folder = source.store, options.records or target
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
    lanes = Lanes(session, possible_lanes(session))
    try:
        crew.run(_works(session, lanes, _steps(source, target, options, records), seen))
        complete = not crew.gave_up
        if not complete:
            ledger.abandon()
        if seen is not None and complete and not ledger.summary().failed:
            _delete_surplus(session, source.below, seen)
            # What could not be deleted is no file to fetch: only a whole run tries it again.
            complete = not ledger.summary().failed
    finally:
        lanes.close()
        for large in list(session.open_files):
            large.close()
        records.close()
        ledger.retried(budget.refusals - refusals)
        save_failures(folder, ledger.summary().failures, complete=complete)


def _delete_surplus(session: Session, below: str, seen: Seen) -> None:
    for path, name in surplus_files(session.target, below, seen, session.options):
        try:
            disk.discard(path)
        except OSError as error:
            session.fail(name, error)
        else:
            session.ledger.deleted(name)


def _works(
    session: Session, lanes: Lanes, steps: Iterable[DownloadStep], seen: Seen | None
) -> Iterator[Work]:
    ledger, options = session.ledger, session.options
    small = Smalls(session, lanes)
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
                    yield small.work(step)
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


def _look(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path per file costs 4 us
    except (FileNotFoundError, NotADirectoryError):
        return None
    # A folder of the name is no reason to skip: publishing will say that it is in the way.
    return None if stat.S_ISDIR(status.st_mode) else status
