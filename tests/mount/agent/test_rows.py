"""Rows of a database as a folder of Parquet files."""

from __future__ import annotations

from datastores.contract import LeaseSpec, QuerySpec, RowsSpec
from datastores.credentials.kinds import Login
from datastores.definitions import PostgreSql
from datastores.names import DatastoreName
from tests.mount.agent.jobs import Bench
from tests.servers.postgres import PostgresServer


def test_rows_are_a_folder_of_parquet_files(bench: Bench, postgres: PostgresServer) -> None:
    """A query's rows are at the reference's path, and the report counts them as rows."""
    database = postgres.database()
    postgres.execute(database, "create table pets (id int, name text)")
    postgres.execute(database, "insert into pets values (1, 'cat'), (2, 'dog')")
    bench.script("""
        import os, pyarrow.parquet
        print(pyarrow.parquet.read_table(os.environ["AZUREML_DATAREFERENCE_pets"]).to_pylist())
    """)
    rows = RowsSpec(
        "pets",
        PostgreSql(DatastoreName("shop"), postgres.host, database, port=postgres.port),
        QuerySpec(text="select * from pets where id > 1"),
        lease=LeaseSpec(Login(postgres.user, postgres.password)),
    )

    ended = bench.start(bench.spec(inputs=(), outputs=(), rows=(rows,))).end()

    assert (ended.code, ended.out) == (0, b"[{'id': 2, 'name': 'dog'}]\n"), ended.err
    report = bench.report()["inputs"][0]
    assert (report["how"], report["files"], report["path"]) == (
        "rows",
        1,
        str(bench.run / "work" / "shop" / "pets"),
    )
