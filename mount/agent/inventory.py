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
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from datastores.transfer.records import Record, Records

# What is sorted in memory at once: some 20 MiB.
_SORTED_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class Inventory:
    """The sum of a list."""

    files: int
    bytes: int
    digest: str


def write_inventory(
    records: Path, target: Path, *, sorted_at_once: int = _SORTED_AT_ONCE
) -> Inventory:
    """The list of what a transfer brought here, compressed at its place; memory is bounded."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    total, sizes = hashlib.sha256(), _Sizes()
    log = Records.open(records)
    try:
        with (
            fresh.open("wb") as file,
            # No moment inside, so that equal lists are equal files.
            gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as out,
        ):
            for line in _in_order(map(sizes.line_of, log), sorted_at_once):
                total.update(line)
                out.write(line)
    finally:
        log.close()
    fresh.replace(target)
    return Inventory(sizes.files, sizes.bytes, f"sha256:{total.hexdigest()}")


class _Sizes:
    """Adds up what goes by."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0

    def line_of(self, record: Record) -> bytes:
        self.files += 1
        self.bytes += record.size
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
