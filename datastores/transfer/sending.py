"""What the pieces of one upload share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from datastores import keys
from datastores.errors import CredentialError, DatastoresError, NotFound, Unavailable
from datastores.transfer import disk
from datastores.transfer.arrival import MTIME_KEY
from datastores.transfer.buffers import Buffers
from datastores.transfer.options import Overwrite
from datastores.transfer.planning import version_of
from datastores.transfer.records import Record, origin_of
from datastores.value import Value, field

if TYPE_CHECKING:
    from datastores.storage.contract import ObjectInfo, Store
    from datastores.transfer.block_send import BlockSend
    from datastores.transfer.crew import Crew
    from datastores.transfer.hosts import HostBudget
    from datastores.transfer.ledger import Ledger
    from datastores.transfer.options import Options
    from datastores.transfer.present import Present
    from datastores.transfer.records import Records
    from datastores.transfer.sources import Found

# A file that changes this often while it is read is reported instead of chased.
MOST_READS = 3


class Sending(Value):
    """One running upload; everything in it may be used from any thread."""

    store: Store
    place: str
    options: Options
    ledger: Ledger
    records: Records | None
    crew: Crew
    budget: HostBudget
    # What is at the place; None: ask for each file.
    present: Present | None
    buffers: Buffers = field(default_factory=Buffers)
    # Large files under way, so that an interrupted transfer leaves no descriptor behind; a set's
    # add and discard are atomic.
    open_files: set[BlockSend] = field(default_factory=set)

    def key(self, found: Found) -> str:
        return keys.join(self.place, found.name)

    def reason_to_skip(self, found: Found) -> str | None:
        """Why this file need not be sent; None when it must."""
        match self.options.overwrite:
            case Overwrite.ALWAYS:
                return None
            case Overwrite.SKIP_EXISTING:
                if self.present is None and self._write_will_tell(found):
                    return None
                return "it exists" if self._at_place(found) is not None else None
            case Overwrite.CHANGED:
                info = self._at_place(found)
                unchanged = info is not None and self._is_unchanged(found, info)
                return "unchanged" if unchanged else None

    def _write_will_tell(self, found: Found) -> bool:
        # A conditional write answers the question and saves a round trip.
        small = found.size <= self.options.small_bytes
        return small and self.store.features.atomic_conditions and not self.options.dry_run

    def metadata(self, found: Found) -> dict[str, str]:
        if self.options.preserve_mtime and self.store.features.keeps_metadata:
            return {MTIME_KEY: str(found.mtime_ns)}
        return {}

    def arrived(self, found: Found, info: ObjectInfo) -> None:
        """The object is in place and was made from this very file."""
        if self.records is not None:
            key = self.key(found)
            self.records.add(
                Record(
                    name=found.name,
                    origin=origin_of(self.store.identity, key),
                    size=found.size,
                    version=version_of(info),
                    mtime_ns=found.mtime_ns,
                )
            )
        self.ledger.finished(found.name)

    def fail(self, name: str, error: Exception) -> None:
        """One file did not arrive: say so, slow down if asked to, go on or stop."""
        explained = error
        if not isinstance(error, DatastoresError):
            if not isinstance(error, OSError):
                raise error
            explained = disk.explain(error, "the source folder", name)
            explained.__cause__ = error
        if isinstance(explained, Unavailable):
            self.budget.throttled(explained.retry_after_seconds)
        self.ledger.failed(name, explained)
        # A dead credential would fail every file after this one too.
        if isinstance(explained, CredentialError) or not self.options.keep_going:
            self.crew.stop()

    def _at_place(self, found: Found) -> ObjectInfo | None:
        key = self.key(found)
        if self.present is not None:
            return self.present.find(key)
        try:
            return self.store.stat(key)
        except NotFound:
            return None

    def _is_unchanged(self, found: Found, info: ObjectInfo) -> bool:
        if info.size != found.size:
            return False
        if info.metadata.get(MTIME_KEY) == str(found.mtime_ns):
            return True
        record = self.records.find(found.name) if self.records is not None else None
        origin = origin_of(self.store.identity, self.key(found))
        return (
            record is not None
            and record.version is not None
            and (record.origin, record.size, record.mtime_ns)
            == (origin, found.size, found.mtime_ns)
            and record.version in (info.version, version_of(info))
        )


def is_same(found: Found, status: os.stat_result) -> bool:
    """Whether the file is still the one that was found."""
    return (found.size, found.mtime_ns, found.inode) == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )


def records_folder(sources: object, options: Options) -> Path | None:
    """Where an upload remembers what it sent; None when there is no such place."""
    if options.records is not None:
        return options.records
    return sources if isinstance(sources, Path) else None
