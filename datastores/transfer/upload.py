"""Local files as objects of a store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from datastores.errors import DefinitionRejected, NameRejected, NotFound
from datastores.storage.contract import Store
from datastores.transfer import disk
from datastores.transfer.block_send import COPIES, BlockSend
from datastores.transfer.crew import Crew, Work
from datastores.transfer.failures import save_failures
from datastores.transfer.hosts import budget_for
from datastores.transfer.ledger import Ledger
from datastores.transfer.options import Options, Overwrite, Symlinks
from datastores.transfer.planning import Refuse, Skip
from datastores.transfer.present import Present, worth_listing
from datastores.transfer.ranges import block_bytes
from datastores.transfer.records import Records
from datastores.transfer.sending import Sending, records_folder
from datastores.transfer.small_send import send_small
from datastores.transfer.sources import Found, Source, find_sources, walk
from datastores.transfer.summary import Summary
from datastores.transfer.surplus import Seen, surplus_objects
from datastores.transfer.watcher import Silent, Watcher


def upload(
    store: Store,
    sources: Iterable[Source] | Path,
    place: str,
    *,
    options: Options | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Send a folder, or the files named, to below `place`.

    An object appears when it is complete. `TransferFailed` at the end names every file that did
    not arrive; the same call sends what is missing, down to single blocks.
    """
    options = options or Options()
    watcher = watcher or Silent()
    ledger = Ledger(watcher)
    try:
        if isinstance(sources, Path):
            _refuse_no_folder(sources)
        if options.delete:
            _refuse_nothing(sources)
        records = _open_records(records_folder(sources, options), options)
        try:
            _run(store, sources, place, options, ledger, records)
        finally:
            if records is not None:
                records.close()
        return ledger.settle()
    finally:
        watcher.close()


def upload_files(
    store: Store,
    files: Sequence[Path],
    place: str,
    *,
    relative_root: Path | None = None,
    options: Options | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Send these files; names are relative to `relative_root`, or to the folder they share."""
    root = relative_root or common_folder(files)
    sources = [Source(file, _relative(file, root)) for file in files]
    return upload(store, sources, place, options=options, watcher=watcher)


def common_folder(files: Sequence[Path]) -> Path:
    """The deepest folder that all the files are in."""
    folders = [os.path.abspath(file.parent) for file in files]  # noqa: PTH100  # keeps links
    return Path(os.path.commonpath(folders)) if folders else Path()


def _relative(file: Path, root: Path) -> str:
    absolute = Path(os.path.abspath(file))  # noqa: PTH100  # keeps links as they are spelled
    try:
        return absolute.relative_to(os.path.abspath(root)).as_posix()  # noqa: PTH100  # likewise
    except ValueError:
        rule = f"it is not below {root}; give a relative_root that holds every file"
        raise NameRejected("file to upload", str(file), rule) from None


def _refuse_no_folder(folder: Path) -> None:
    if not folder.is_dir():
        detail = "it is a file; upload it by name" if folder.exists() else "check the path"
        raise NotFound("the local disk", str(folder), f"no such folder; {detail}")


def _refuse_nothing(sources: Iterable[Source] | Path) -> None:
    # Whatever is not named, or a folder of another name, would be deleted over there.
    if not isinstance(sources, Path):
        raise DefinitionRejected("delete", "files are given by name; upload a folder instead")
    if next(walk(sources, Symlinks.FOLLOW_FILES), None) is None:
        detail = "it is empty, so nothing is deleted; check the path"
        raise NotFound("the local disk", str(sources), detail)


def _open_records(folder: Path | None, options: Options) -> Records | None:
    # Only this policy asks for proof later; the others leave the user's folder as it is.
    if folder is None or options.overwrite is not Overwrite.CHANGED:
        return None
    if options.dry_run and not (folder / disk.RECORDS).exists():
        return None
    try:
        return Records.open(folder)
    except OSError:
        # A read-only source is uploaded all the same; nothing proves then that it is unchanged.
        return None


def _run(
    store: Store,
    sources: Iterable[Source] | Path,
    place: str,
    options: Options,
    ledger: Ledger,
    records: Records | None,
) -> None:
    budget = budget_for(store.identity)
    crew = Crew(budget, options.limits)
    pages, entries = worth_listing(find_sources(sources, options))
    asks = options.overwrite is not Overwrite.ALWAYS
    present = Present.read(store, place, pages) if asks else None
    sending = Sending(store, place, options, ledger, records, crew, budget, present)
    seen = Seen() if options.delete else None
    complete, refusals = False, budget.refusals
    try:
        crew.run(_works(sending, entries, seen))
        complete = not crew.gave_up
        if not complete:
            ledger.abandon()
        if seen is not None and complete and not ledger.summary().failed:
            # The same counts and limits, and a crew of its own: this one has ended.
            sweep = replace(sending, crew=Crew(budget, options.limits))
            sweep.crew.run(surplus_objects(store, place, seen, options, ledger, sweep.fail))
            # What could not be deleted is no file to send: only a whole run tries it again.
            complete = not ledger.summary().failed
    finally:
        for large in list(sending.open_files):
            large.close()
        ledger.retried(budget.refusals - refusals)
        folder = records_folder(sources, options)
        if folder is not None and not options.dry_run:
            save_failures(folder, ledger.summary().failures, complete=complete)


def _works(
    sending: Sending, entries: Iterable[Found | Skip | Refuse], seen: Seen | None
) -> Iterator[Work]:
    ledger = sending.ledger
    for entry in entries:
        if seen is not None:
            seen.add(entry.name)
        match entry:
            case Found(name=name, size=size):
                ledger.found(size)
                if len(sending.key(entry)) > sending.store.features.longest_key:
                    longest = sending.store.features.longest_key
                    rule = f"this store takes at most {longest} characters; shorten it"
                    sending.fail(name, NameRejected("object", name, rule))
                else:
                    yield Work(_Send(sending, entry), _weight(sending, size))
            case Skip(name=name, why=why):
                ledger.found(0)
                ledger.skipped(name, why)
            case Refuse(name=name, error=error):
                ledger.found(0)
                sending.fail(name, error)


def _weight(sending: Sending, size: int) -> int:
    return COPIES * size if size <= sending.options.small_bytes else 0


class _Send:
    """The work of sending one file, or of opening a large one."""

    __slots__ = ("_found", "_sending")

    def __init__(self, sending: Sending, found: Found) -> None:
        self._sending = sending
        self._found = found

    def __call__(self) -> int | None:
        sending, found = self._sending, self._found
        try:
            if why := sending.reason_to_skip(found):
                sending.ledger.skipped(found.name, why)
            elif sending.options.dry_run:
                sending.ledger.skipped(found.name, "would be sent")
            elif found.size > sending.options.small_bytes and self._in_blocks():
                return None
            else:
                return send_small(sending, found)
        except Exception as error:  # noqa: BLE001  # reported with the file's name
            sending.fail(found.name, error)
        return None

    def _in_blocks(self) -> bool:
        staging = self._sending.store.staging
        size = self._found.size
        if staging is None or not block_bytes(size, staging.largest_block, staging.most_blocks):
            return False
        BlockSend(self._sending, self._found, staging).open()
        return True
