"""Rows as a folder of Parquet files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from datastores.errors import DefinitionRejected
from datastores.storage.rows.batches import read_batches, require_arrow
from datastores.storage.rows.engine import definition_of
from datastores.storage.rows.folder import new_folder
from datastores.storage.rows.query import Query

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Engine

ROWS_PER_FILE = 1_000_000


def download_rows(
    engine: Engine,
    query: Query,
    folder: Path,
    *,
    overwrite: bool = False,
    rows_per_file: int = ROWS_PER_FILE,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """The files `part-00000.parquet`, ... that hold the rows of one snapshot, in their order.

    The folder appears complete or not at all: a run that fails or is killed leaves nothing under
    its name, and what a killed one left beside it goes with the next. `AlreadyExists` when
    something is there, unless `overwrite`. `progress` hears rows and bytes written so far.
    A result without rows is one file that has the columns.
    """
    store = definition_of(engine).name
    require_arrow(store)
    if rows_per_file < 1:
        raise DefinitionRejected("query", f"{rows_per_file} rows per file; give at least 1")
    with (
        new_folder(folder, store, overwrite=overwrite) as aside,
        closing(read_batches(engine, query)) as batches,
    ):
        names = _write_parts(batches, aside, rows_per_file, progress or _ignore)
    return [folder / name for name in names]


def _write_parts(
    batches: Iterator[pa.RecordBatch],
    folder: Path,
    rows_per_file: int,
    progress: Callable[[int, int], None],
) -> list[str]:
    from pyarrow.parquet import ParquetWriter

    names: list[str] = []
    rows_done = bytes_done = 0
    for part in _parts(batches, rows_per_file):
        names.append(f"part-{len(names):05}.parquet")
        with (folder / names[-1]).open("xb") as file:
            first = next(part)
            with ParquetWriter(file, first.schema) as writer:
                for batch in chain([first], part):
                    writer.write_batch(batch)
                    rows_done += batch.num_rows
                    progress(rows_done, bytes_done + file.tell())
            file.flush()
            os.fsync(file.fileno())
            bytes_done += file.tell()
            progress(rows_done, bytes_done)
    return names


def _parts(
    batches: Iterator[pa.RecordBatch], rows_per_file: int
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The batches of each file in turn; a batch is cut where a file is full."""
    rest: list[pa.RecordBatch] = []

    def fill() -> Iterator[pa.RecordBatch]:
        room = rows_per_file
        while room and (rest or _pull(batches, rest)):
            batch = rest.pop()
            yield batch.slice(0, room)
            if batch.num_rows > room:
                rest.append(batch.slice(room))
            room -= min(room, batch.num_rows)

    while rest or _pull(batches, rest):
        yield fill()


def _pull(batches: Iterator[pa.RecordBatch], into: list[pa.RecordBatch]) -> bool:
    into.extend(batch for batch in [next(batches, None)] if batch is not None)
    return bool(into)


def _ignore(rows: int, size: int) -> None:
    """Nobody wants to hear."""
