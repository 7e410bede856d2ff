"""What the pieces of one download share."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from datastores.errors import CredentialError, DatastoresError, Unavailable
from datastores.transfer import disk
from datastores.value import Value, field

if TYPE_CHECKING:
    from datastores.storage.contract import Store
    from datastores.transfer.crew import Crew
    from datastores.transfer.hosts import HostBudget
    from datastores.transfer.large_file import LargeFetch
    from datastores.transfer.ledger import Ledger
    from datastores.transfer.options import Options
    from datastores.transfer.planning import Fetch
    from datastores.transfer.records import Records
    from datastores.transfer.space import Space


class Session(Value):
    """One running download; everything in it may be used from any thread."""

    store: Store
    target: Path
    options: Options
    ledger: Ledger
    records: Records
    crew: Crew
    budget: HostBudget
    space: Space
    folders: disk.Folders = field(default_factory=disk.Folders)
    # Large files under way, so that an interrupted transfer leaves no descriptor behind; a set's
    # add and discard are atomic.
    open_files: set[LargeFetch] = field(default_factory=set)
    # Empty files made by this call: where a folder of the same name turns up, they make way.
    empty: set[str] = field(default_factory=set)

    def claim(self, part: str) -> tuple[int, int, bool]:
        """The part file, locked, in a folder that exists; its size; whether it was waited for."""
        patience = self.options.limits.lock_seconds
        try:
            try:
                return disk.claim_in_time(part, patience, self.crew.check)
            except (FileNotFoundError, NotADirectoryError):
                self.make_folder(os.path.dirname(part))  # noqa: PTH120  # a Path costs 4 us
                return disk.claim_in_time(part, patience, self.crew.check)
        except disk.PartBusy as busy:
            detail = "another process has held it without progress; end that one, or wait for it"
            raise Unavailable(str(self.target), part, detail) from busy

    def make_folder(self, folder: str) -> None:
        """The folder, made if need be; an empty object of its name was only its marker."""
        try:
            self.folders.make(folder)
        except (FileExistsError, NotADirectoryError):
            above = folder
            while len(above) > len(os.fspath(self.target)) and above not in self.empty:
                above = os.path.dirname(above)  # noqa: PTH120  # a Path costs 4 us
            if above not in self.empty:
                raise
            self.empty.discard(above)
            disk.discard(above)
            self.folders.make(folder)

    def is_present(self, fetch: Fetch) -> bool:
        """Whether somebody else has brought this very object here since the listing."""
        record = self.records.find(fetch.name)
        try:
            status = os.stat(fetch.path)  # noqa: PTH116  # a Path per file costs 4 us
        except FileNotFoundError:
            return False
        version = record.version if record else None
        return record is not None and record.proves(
            fetch.origin, fetch.info.size, fetch.info.version or version, status
        )

    def fail(self, name: str, error: Exception) -> None:
        """One file did not arrive: say so, slow down if asked to, go on or stop."""
        explained = self.explained(name, error)
        if isinstance(explained, Unavailable):
            self.budget.throttled(explained.retry_after_seconds)
        self.ledger.failed(name, explained)
        # A full disk and a dead credential would fail every file after this one too.
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or isinstance(explained, CredentialError) or not self.options.keep_going:
            self.crew.stop()

    def explained(self, name: str, error: Exception) -> Exception:
        """The error as one of ours; anything that is neither ours nor the disk's is a defect."""
        if isinstance(error, DatastoresError):
            return error
        if isinstance(error, OSError):
            explained = disk.explain(error, str(self.target), name)
            explained.__cause__ = error
            return explained
        raise error
