"""Progress of the datastore objects' own calls, in the lines that Azure ML prints."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Self

from datastores.catalog.home import home, make_writable
from datastores.secret import redact
from datastores.transfer.options import Options, Overwrite
from datastores.transfer.watcher import Silent, Watcher

log = logging.getLogger(__name__)


def azureml_options(overwrite: bool, target: Path | None = None) -> Options:
    """Azure ML's `overwrite`: a name that is taken is replaced, or left alone.

    What a download notes for later goes beside the user's workspaces and not into the target:
    scripts list that folder and expect their data in it, nothing else.
    """
    policy = Overwrite.ALWAYS if overwrite else Overwrite.SKIP_EXISTING
    if target is None:
        return Options(overwrite=policy)
    return Options(overwrite=policy, records=writable_notes_for(target))


def writable_notes_for(local: Path) -> Path:
    """The same, for those who cannot go on without notes."""
    make_writable(home() / "records")
    return notes_for(local)


def notes_for(local: Path) -> Path:
    """Where transfers with this local folder or file keep their notes."""
    return home() / "records" / hashlib.sha256(os.fsencode(local.absolute())).hexdigest()[:32]


def watcher_for(verb: str, shown: bool, expected: int = 0) -> Watcher:
    """Azure ML's lines for "upload" or "download", or nothing."""
    return AzureMlLines(verb, expected) if shown else Silent()


class AzureMlLines:
    """One line when a file begins and one when it is done, as scripts and logs know them."""

    def __init__(self, verb: str, expected: int) -> None:
        self._doing, self._done = f"{verb.capitalize()}ing", f"{verb.capitalize()}ed"
        self._verb = verb
        self._lock = threading.Lock()  # guards the counts and keeps lines whole
        self._found, self._finished = 0, 0
        self._expected = expected
        if verb == "upload":
            self._say(f"Uploading an estimated of {expected} files")

    def found(self, files: int, size: int) -> None:  # noqa: ARG002  # sizes do not show
        with self._lock:
            self._found += files

    def started(self, name: str) -> None:
        with self._lock:
            self._say(f"{self._doing} {name}")

    def moved(self, name: str, size: int) -> None:
        """Files are the unit here."""

    def finished(self, name: str) -> None:
        with self._lock:
            self._finished += 1
            total = max(self._found, self._expected)
            self._say(
                f"{self._done} {name}, {self._finished} files out of an estimated total of {total}"
            )

    def skipped(self, name: str, why: str) -> None:
        with self._lock:
            if self._verb == "upload":
                self._say(f"Target already exists. Skipping upload for {name}")
            else:
                log.warning("Path already exists. Skipping download for %s (%s)", name, why)

    def failed(self, name: str, error: BaseException) -> None:
        with self._lock:
            self._say(f"Failed {name}: {redact(str(error))}")

    def close(self) -> None:
        if self._verb == "upload":
            self._say(f"Uploaded {self._finished} files")

    def _say(self, line: str) -> None:
        print(line, flush=True)  # noqa: T201  # what show_progress asks for
        log.info("%s", line)


class RowProgress:
    """A line every few seconds while rows arrive, and one at the end."""

    def __init__(self, name: str, *, shown: bool) -> None:
        self._name, self._shown = name, shown
        self._began = self._spoke = time.monotonic()
        self._rows = self._bytes = 0

    def moved(self, rows: int, size: int) -> None:
        """So many rows and bytes have arrived in all."""
        self._rows, self._bytes = rows, size
        now = time.monotonic()
        if self._shown and now - self._spoke >= 2:
            self._spoke = now
            self._say()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_outcome: object) -> None:
        if self._shown:
            self._say()

    def _say(self) -> None:
        seconds = time.monotonic() - self._began
        sys.stdout.write(
            f"Downloaded {self._rows:,} rows of {self._name}, "
            f"{self._bytes / 1e6:,.1f} MB in {seconds:.1f} s\n"
        )
        sys.stdout.flush()
