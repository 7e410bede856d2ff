"""Rows of a real PostgreSQL as Parquet files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from datastores.errors import AlreadyExists, DefinitionRejected
from datastores.storage.rows.parquet import download_rows
from datastores.storage.rows.query import Query
from tests.rows.conftest import Place

NUMBERS = Query(text="SELECT g FROM generate_series(1, 2500) g")
EVERY_TYPE = Query(
    text="SELECT 1::int2 AS a, 1.5::numeric(50,1) AS b, '{a,NULL}'::text[] AS c, '03:04'::time AS d,"
    " '2024-01-02 03:04+00'::timestamptz AS e, '\\x00'::bytea AS f, NULL::jsonb AS g"
)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_parts(engine: Engine, tmp_path: Path) -> None:
    """Files are cut at the asked number of rows, keep the order, and progress counts them all."""
    heard: list[tuple[int, int]] = []
    target = tmp_path / "deep" / "out"

    files = download_rows(
        engine, NUMBERS, target, rows_per_file=1000, progress=lambda *at: heard.append(at)
    )

    assert files == [target / f"part-0000{n}.parquet" for n in range(3)]
    assert [pq.read_table(file)["g"].to_pylist() for file in files] == [
        list(range(1, 1001)),
        list(range(1001, 2001)),
        list(range(2001, 2501)),
    ]
    assert heard[-1] == (2500, sum(file.stat().st_size for file in files))
    assert heard == sorted(heard)
    assert names_in(target.parent) == ["out"]


def test_types_survive(engine: Engine, tmp_path: Path) -> None:
    """Types and values read from the files are those of the batches."""
    (file,) = download_rows(engine, EVERY_TYPE, tmp_path / "out")

    table = pq.read_table(file)
    fields: list[pa.Field[Any]] = [
        pa.field("a", pa.int16()),
        pa.field("b", pa.decimal256(50, 1)),
        pa.field("c", pa.list_(pa.field("item", pa.string()))),
        pa.field("d", pa.time64("us")),
        pa.field("e", pa.timestamp("us", tz="UTC")),
        pa.field("f", pa.binary()),
        pa.field("g", pa.string()),
    ]
    assert table.schema == pa.schema(fields)
    assert table["c"].to_pylist() == [["a", None]]


def test_no_rows(engine: Engine, tmp_path: Path) -> None:
    """A result without rows is one file that has the columns."""
    (file,) = download_rows(engine, Query(text="SELECT 1 AS a WHERE false"), tmp_path / "out")

    table = pq.read_table(file)
    assert (file.name, table.num_rows, table.schema) == (
        "part-00000.parquet",
        0,
        pa.schema([("a", pa.int32())]),
    )


def test_existing_target(engine: Engine, tmp_path: Path) -> None:
    """What is there stays as it is unless overwriting is asked for; then only the new remains."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")

    with pytest.raises(AlreadyExists, match="overwrite=True"):
        download_rows(engine, NUMBERS, target)
    untouched = names_in(target)
    download_rows(engine, NUMBERS, target, overwrite=True)

    assert (untouched, names_in(target), names_in(tmp_path)) == (
        ["old"],
        ["part-00000.parquet"],
        ["out"],
    )


def test_failure_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    """A query that fails half way leaves the old folder and nothing beside it."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    failing = Query(text="SELECT 1 / (200000 - g) AS v FROM generate_series(1, 300000) g")

    with pytest.raises(DefinitionRejected, match="division by zero"):
        download_rows(engine, failing, target, overwrite=True)

    assert (names_in(tmp_path), names_in(target)) == (["out"], ["old"])


def test_killed(place: Place, engine: Engine, tmp_path: Path) -> None:
    """A killed run leaves nothing under the folder's name, and the next one clears its remains."""
    task = {
        "url": [place.server.host, place.definition.database, place.server.port],
        "login": [place.login.username, place.login.password.reveal()],
        "target": str(tmp_path / "out"),
    }
    script = """
import json, sys
from pathlib import Path
from datastores.credentials.kinds import Login
from datastores.definitions import PostgreSql
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.rows.engine import open_engine
from datastores.storage.rows.parquet import download_rows
from datastores.storage.rows.query import Query
task = json.loads(sys.stdin.readline())
engine = open_engine(
    PostgreSql(DatastoreName("warehouse"), *task["url"][:2], port=task["url"][2]),
    Login(task["login"][0], Secret(task["login"][1])),
)
def progress(rows, size):
    print(rows, flush=True)
    if rows >= 100000:
        sys.stdin.readline()  # hold still until killed
query = Query(text="SELECT g FROM generate_series(1, 1000000) g")
download_rows(engine, query, Path(task["target"]), rows_per_file=100000, progress=progress)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(task) + "\n")
        child.stdin.flush()
        while int(child.stdout.readline()) < 100_000:
            pass
        held = names_in(tmp_path)
        beside = download_rows(engine, NUMBERS, tmp_path / "out")
        while_alive = names_in(tmp_path)
        child.kill()
        child.wait(10)

    download_rows(engine, NUMBERS, tmp_path / "out", overwrite=True)

    assert ("out" in held, len(held)) == (False, 1)
    assert (beside[0].name, while_alive) == ("part-00000.parquet", sorted([*held, "out"]))
    assert names_in(tmp_path) == ["out"]
