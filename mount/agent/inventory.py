"""The list of an input's files: name, size and version of each, in order, and a digest over them.

One JSON array for each line, so that any name fits; the lines are in the order of their bytes and
the digest is the SHA-256 of the text, hence two inputs with one digest were the same.
"""

from __future__ import annotations

import gzip
import hashlib
import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from datastores.value import Value

if TYPE_CHECKING:
    from datastores.transfer.records import Record

# What is sorted in memory at once: some 20 MiB.
_SORTED_AT_ONCE = 100_000


class Inventory(Value):
    """The sum of a list."""

    files: int
    bytes: int
    digest: str


def write_inventory(
    records: Path, target: Path, *, sorted_at_once: int = _SORTED_AT_ONCE
) -> Inventory:
    """The list of what a transfer brought here, compressed at its place; memory is bounded."""
    from datastores.transfer.records import Records

    log = Records.open(records)
    try:
        return write_lines(map(_line_of, log), target, sorted_at_once=sorted_at_once)
    finally:
        log.close()


def write_lines(
    lines: Iterator[bytes], target: Path, *, sorted_at_once: int = _SORTED_AT_ONCE
) -> Inventory:
    """The same of lines in any order; one that comes again is there once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    total, files, size = hashlib.sha256(), 0, 0
    with (
        fresh.open("wb") as file,
        # No moment inside, so that equal lists are equal files.
        gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as out,
    ):
        for line, _ in groupby(_in_order(lines, sorted_at_once)):
            files += 1
            size += json.loads(line)[1]
            total.update(line)
            out.write(line)
    fresh.replace(target)
    return Inventory(files, size, f"sha256:{total.hexdigest()}")


def _line_of(record: Record) -> bytes:
    facts = (record.name, record.size, record.version)
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n"


def _in_order(lines: Iterator[bytes], at_once: int) -> Iterator[bytes]:
    """The lines sorted: runs of them on disk, merged, where they are many."""
    with ExitStack() as held:
        runs: list[Iterable[bytes]] = []
        while True:
            chunk = sorted(islice(lines, at_once))
            if len(chunk) < at_once:
                yield from heapq.merge(*runs, chunk)
                return
            file = held.enter_context(tempfile.TemporaryFile())
            file.writelines(chunk)
            file.seek(0)
            runs.append(file)
