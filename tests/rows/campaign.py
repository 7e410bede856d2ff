"""How fast and in how much memory rows are read: `python -m tests.rows.campaign [rows]`.

Starts a PostgreSQL of its own and prints one JSON line per way of reading.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import Engine

from datastores.credentials.kinds import Login
from datastores.definitions import PostgreSql
from datastores.secret import Secret
from datastores.storage.rows.batches import read_batches
from datastores.storage.rows.engine import open_engine
from datastores.storage.rows.parquet import download_rows
from datastores.storage.rows.query import Query
from tests.rows.conftest import NAME
from tests.servers.postgres import PostgresServer, running_server

# What a table of features looks like: a key, numbers, a name, a moment, a flag, a price.
TABLE = (
    "SELECT g AS id, g * 1.5::float8 AS x, 'name ' || g AS name,"
    " timestamp '2024-01-01' + g * interval '1 s' AS at, g % 7 = 0 AS flag,"
    " (g / 100.0)::numeric(12, 2) AS price FROM generate_series(1, {rows}) g"
)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        Path(folder).chmod(0o755)
        with running_server(Path(folder)) as server:
            server.execute("postgres", "CREATE UNLOGGED TABLE t AS " + TABLE.format(rows=rows))
            for way in ("batches", "parquet"):
                print(json.dumps(measure(server, "postgres", way)))  # noqa: T201 - its answer


def measure(
    server: PostgresServer, database: str, way: str, query: str = "TABLE t"
) -> dict[str, float]:
    """Figures of one reading, in a process of its own so that the peak is its own."""
    task = {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password.reveal(),
        "database": database,
        "way": way,
        "query": query,
    }
    done = subprocess.run(
        [sys.executable, "-c", "from tests.rows import campaign; campaign.read()"],
        input=json.dumps(task),
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def read() -> None:
    """One reading, as standard input says; the figures go to standard output."""
    task = json.loads(sys.stdin.read())
    definition = PostgreSql(NAME, task["host"], task["database"], port=task["port"])
    engine = open_engine(definition, Login(task["user"], Secret(task["password"])))
    started = time.perf_counter()
    rows = _count(task["way"], engine, Query(text=task["query"]))
    seconds = time.perf_counter() - started
    engine.dispose()
    print(  # noqa: T201 - its answer
        json.dumps(
            {
                "way": task["way"],
                "rows": rows,
                "seconds": round(seconds, 2),
                "rows_per_second": round(rows / seconds),
                "peak_mib": _peak_mib(),
            }
        )
    )


def _count(way: str, engine: Engine, query: Query) -> int:
    if way == "batches":
        return sum(batch.num_rows for batch in read_batches(engine, query))
    rows = 0

    def progress(done: int, size: int) -> None:
        nonlocal rows
        rows = done

    with tempfile.TemporaryDirectory() as folder:
        download_rows(engine, query, Path(folder) / "out", progress=progress)
    return rows


def _peak_mib() -> float:
    # Not ru_maxrss, which a child inherits from the process that started it.
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return round(int(match[1]) / 1024, 1)


if __name__ == "__main__":
    main()
