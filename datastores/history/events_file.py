"""The file that a script appends its events to."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from datastores.errors import DiskFull
from datastores.history.entries import Entry
from datastores.history.events import VERSION, encode
from datastores.history.records import RunFile
from datastores.keys import local_target
from datastores.value import Value

log = logging.getLogger(__name__)

# Longer lines go to a file of their own, so that a reader's memory and one write stay small.
_LONGEST_LINE = 64 * 1024
_CHUNK_BYTES = 1024 * 1024
# What comes and goes while a script runs. Metrics are not worth the run: it goes on without them.
_PASSING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}
SPILLED = "spilled"


class EventsFile(Value):
    """Appends whole lines, from any number of threads and processes, forks included.

    The file is opened for each line: nothing is inherited, nothing is held, nothing is buffered.
    """

    path: Path

    @property
    def folder(self) -> Path:
        """Files that the script hands over, beside the events."""
        return self.path.parent / "files"

    def append(self, entry: Entry) -> None:
        """Add an entry. A disk that is full, or no descriptor left, costs the entry and not the
        run: one warning says so.
        """
        line = encode(entry)
        try:
            if len(line) > _LONGEST_LINE:
                line = self._spill(line)
            self._write(line)
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            _lost.count(self.path, error)

    def keep(self, name: str, source: Path | IO[bytes], datastore: str | None = None) -> RunFile:
        """Copy a file to those that belong to the run; it is there whole or not at all."""
        target = local_target(self.folder, name)
        fresh = target.with_name(f".{uuid.uuid4().hex}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _opened(source) as reading, fresh.open("xb") as writing:
                shutil.copyfileobj(reading, writing, _CHUNK_BYTES)
            size = fresh.stat().st_size
            fresh.replace(target)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DiskFull("the local disk", str(target), "free space and log it again") from error
        finally:
            fresh.unlink(missing_ok=True)
        return RunFile(name, size, datastore, path=name)

    def lines(self) -> Iterator[bytes]:
        """The complete lines as they are now, in order; for the script's own questions."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n") and line.strip():
                    yield unspilled(line.strip(), self.folder)

    def _write(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self.path, flags, 0o600)
        try:
            # In one call, which the kernel appends without another's in between. The line feed in
            # front ends what a writer left that was killed in the middle of its line.
            done = os.write(fd, b"\n" + line + b"\n")
        finally:
            os.close(fd)
        if done < len(line) + 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _spill(self, line: bytes) -> bytes:
        name = f".{uuid.uuid4().hex}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(line)
        return json.dumps({"v": VERSION, SPILLED: name}).encode()


def unspilled(line: bytes, folder: Path) -> bytes:
    """The line, or the contents of the file it names in place of itself."""
    if SPILLED.encode() not in line:
        return line
    try:
        name = json.loads(line).get(SPILLED)
        return line if name is None else local_target(folder, name).read_bytes()
    except (ValueError, AttributeError, TypeError, OSError):
        # Read as it is, it is refused with its place.
        return line


@contextlib.contextmanager
def _opened(source: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        yield source


class _Lost:
    """Counts what a full disk cost, and says so once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.entries = 0  # under the lock

    def count(self, path: Path, error: OSError) -> None:
        with self._lock:
            self.entries += 1
            is_first = self.entries == 1
        if is_first:
            log.warning(
                'metrics are being lost: "%s" cannot be written (%s)',
                path,
                error.strerror,
            )


_lost = _Lost()
