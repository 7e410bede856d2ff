"""From a script's events file into the registry, each line once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from datastores.errors import NameRejected
from datastores.history.entries import Entry, merged
from datastores.history.events import BadLine, decode
from datastores.history.events_file import EventsFile, unspilled
from datastores.history.records import RunRecord
from datastores.history.run_history import RunHistory
from datastores.keys import local_target

log = logging.getLogger(__name__)

# One transaction takes in about so many bytes: some 10,000 metrics.
_PIECE_BYTES = 1024 * 1024


def ingest(
    history: RunHistory,
    run_id: str,
    path: Path,
    from_offset: int = 0,
    *,
    is_over: bool = False,
    piece_bytes: int = _PIECE_BYTES,
) -> int:
    """Take in the complete lines of an events file; how many of its bytes are in the registry.

    Any number of callers may try, again and at once: each line goes in once, because the offset is
    stored with what it stands for. The registry's offset counts; `from_offset` spares a look at it.
    A torn last line waits, unless the run `is_over`. A bad line is named in a warning and skipped.
    """
    run: RunRecord | None = None
    offset = from_offset
    while piece := _next_piece(path, offset, piece_bytes, is_over=is_over):
        run = run or history.get(run_id)
        if run.events_offset > offset:
            offset = run.events_offset
            continue
        entries = merged(_entries(path, run, offset, piece))
        reached = history.absorb_events(run_id, offset, offset + len(piece), entries)
        if reached < offset:
            log.warning('run "%s": the registry knows less of "%s" than expected', run_id, path)
        offset = reached
    return offset


def _next_piece(path: Path, offset: int, piece_bytes: int, *, is_over: bool) -> bytes:
    """Bytes from here to the end of a line; nothing where no line ends."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            found = file.read(piece_bytes)
            while b"\n" not in found:
                more = file.read(piece_bytes)
                if not more:
                    return found if is_over else b""
                found += more
            is_end = is_over and not file.read(1)
    except FileNotFoundError:
        return b""
    return found if is_end else found[: found.rindex(b"\n") + 1]


def _entries(path: Path, run: RunRecord, offset: int, piece: bytes) -> Iterator[Entry]:
    folder = EventsFile(path).folder
    for line in piece.splitlines(keepends=True):
        text = line.strip()
        if text:
            try:
                yield _located(decode(unspilled(text, folder), run.experiment), folder)
            except (BadLine, NameRejected) as error:
                log.warning('the line at byte %s of "%s" is skipped: %s', offset, path, error)
        offset += len(line)


def _located(entry: Entry, folder: Path) -> Entry:
    """The entry with whole paths of its files, all inside the run's folder."""
    return replace(
        entry,
        files=tuple(
            replace(file, path=str(local_target(folder, file.path or file.name)))
            for file in entry.files
        ),
    )
