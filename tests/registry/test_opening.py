"""Opening a registry: its schema's age, and everything that can be in the way."""

from __future__ import annotations

import logging
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from datastores.credentials.kinds import Anonymous
from datastores.errors import (
    ConfigRejected,
    CredentialRefused,
    RegistryBusy,
    RegistryReadOnly,
    RegistryTooNew,
    RegistryUnreachable,
)
from datastores.history.records import ExperimentName, RunId, RunRecord
from datastores.history.run_history import RunHistory
from datastores.registry import migrate, sqlite_file
from datastores.registry.address import parse_address
from datastores.registry.database import Database
from datastores.registry.keychain import Keychain
from datastores.registry.lock_holder import holder
from datastores.registry.migrate import SHIPPED, History, bring_up_to_date
from datastores.registry.postgres_database import PostgresDatabase
from datastores.registry.registry import Registry
from datastores.registry.schema import metadata
from datastores.secret import Secret
from tests.registry.conftest import WORKSPACE, Home, blob, key, workspace
from tests.registry.processes import forked, run_processes
from tests.servers.postgres import PostgresServer

AFTER = f"{int(SHIPPED.newest) + 1:04}"
NEXT_STEP = f"""
from alembic import op
import sqlalchemy as sa
revision, down_revision = "{AFTER}", "{SHIPPED.newest}"
def upgrade():
    op.create_table("witnesses", sa.Column("number", sa.Integer))
    op.execute("INSERT INTO witnesses VALUES (1)")
"""


def test_the_migrations_make_what_the_code_expects(registry: Registry) -> None:
    """
    A registry made by the migrations has exactly the tables the code describes.
    """
    differences = registry.database.read(
        lambda connection: compare_metadata(MigrationContext.configure(connection), metadata)
    )

    assert differences == []


def test_the_newest_step_is_the_one_the_code_names() -> None:
    """
    The number the code compares with is the head of the shipped migrations.
    """
    config = Config()
    config.set_main_option("script_location", SHIPPED.location)

    assert ScriptDirectory.from_config(config).get_heads() == [SHIPPED.newest]


def test_an_older_schema_is_migrated_once(home: Home, tmp_path: Path) -> None:
    """
    Of eight processes that open an older registry at once, one migrates it and all go on.
    """
    with home.open(create=True) as registry:
        registry.add_workspace(workspace(home))
        record = registry.put(WORKSPACE, blob(), key(), overwrite=False)
    history = _with_next_step(tmp_path)

    run_processes(lambda number, start: _migrate(home, history, start))

    database = _database(home)
    with_witness = database.read(
        lambda connection: [
            connection.exec_driver_sql(f"SELECT {column} FROM {table}").scalar_one()
            for column, table in (("number", "witnesses"), ("version_num", "alembic_version"))
        ]
    )
    database.close()
    assert with_witness == [1, AFTER]
    assert record.revision == 1


def test_a_registry_without_histories_gets_them_and_keeps_its_secrets(home: Home) -> None:
    """
    A registry of the first schema opens with its datastores and their secrets as they were, and
    remembers runs from then on.
    """
    database = _database(home)
    database.place.make()
    bring_up_to_date(database, create=True, history=History(SHIPPED.location, "0001"))
    with Registry(database, Keychain(database.label, database.place.folder)) as old:
        old.add_workspace(workspace(home))
        record = old.put(WORKSPACE, blob(), key(), overwrite=False)

    with home.open() as registry:
        found = registry.unlock(WORKSPACE, "images")
        run = RunHistory(registry, WORKSPACE).create(
            RunRecord(RunId("cats_1"), ExperimentName("cats"))
        )
        runs = RunHistory(registry, WORKSPACE).list()

    assert found == (record, key())
    assert runs == [run]


def test_a_failed_migration_changes_nothing(home: Home, tmp_path: Path) -> None:
    """
    A step that fails half way leaves the older schema, which this version still opens.
    """
    home.open(create=True).close()
    history = _with_next_step(tmp_path, 'raise RuntimeError("half way")')
    database = _database(home)

    with pytest.raises(RuntimeError, match="half way"):
        bring_up_to_date(database, create=False, history=history)
    tables = database.read(_tables)
    database.close()

    assert "witnesses" not in tables
    home.open().close()


def test_a_newer_schema_is_refused(registry: Registry, home: Home) -> None:
    """
    A registry of a newer version is not touched, and the sentence says what to upgrade.
    """
    registry.database.write(
        lambda connection: connection.exec_driver_sql(
            "UPDATE alembic_version SET version_num = '0999'"
        )
    )

    with pytest.raises(RegistryTooNew, match=r"schema is 0999.*upgrade datastores"):
        home.open()
    with pytest.raises(RegistryTooNew):
        home.open(create=True)


def test_what_does_not_exist_is_not_made_by_looking(tmp_path: Path) -> None:
    """
    Opening a missing file without `create` is an error that names it and makes nothing.
    """
    with pytest.raises(RegistryUnreachable, match=str(tmp_path / "no" / "registry.db")):
        Registry.open(tmp_path / "no" / "registry.db")

    assert list(tmp_path.iterdir()) == []


def test_a_database_without_a_registry_is_not_filled_by_looking(
    postgres_home: Home, postgres: PostgresServer
) -> None:
    """
    Opening an empty PostgreSQL database without `create` leaves it empty.
    """
    with pytest.raises(RegistryUnreachable, match="no registry here"):
        postgres_home.open()

    name = postgres_home.address.rpartition("/")[2]
    tables = postgres.execute(name, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    assert tables == [(0,)]


def test_a_folder_stands_for_the_registry_in_it(tmp_path: Path) -> None:
    """
    The path of a folder, a file and a SQLite address open the same registry.
    """
    Registry.open(tmp_path, create=True).close()

    labels = [
        opened.database.label
        for address in (tmp_path, tmp_path / "registry.db", f"sqlite:///{tmp_path}/registry.db")
        for opened in [Registry.open(address)]
    ]

    assert labels == [str(tmp_path / "registry.db")] * 3


@pytest.mark.parametrize(
    "address", ["mysql://u:hidden-pw@h/d", "sqlite://", "postgresql://u:hidden-pw@h:port/d"]
)
def test_other_addresses_are_refused(address: str) -> None:
    """
    An address that can hold no registry is refused in a sentence that shows no password.
    """
    with pytest.raises(ConfigRejected) as error:
        Registry.open(address)

    assert "hidden-pw" not in str(error.value)


def test_a_writer_waits_for_its_turn_within_a_bound(registry: Registry, home: Home) -> None:
    """
    While another holds the writer's lock, writing fails with `RegistryBusy` after the patience
    that was asked for, and reading goes on.
    """
    holding, done = threading.Event(), threading.Event()

    def hold(connection: Any) -> None:
        holding.set()
        done.wait(30)

    thread = threading.Thread(target=lambda: registry.database.write(hold))
    thread.start()
    holding.wait(30)
    try:
        with home.open(patience_seconds=0.5) as other:
            names = other.names(WORKSPACE)
            begin = time.monotonic()
            with pytest.raises(RegistryBusy, match="another process"):
                other.put(WORKSPACE, blob(), Anonymous(), overwrite=False)
            waited = time.monotonic() - begin
    finally:
        done.set()
        thread.join()

    assert names == []
    assert 0.4 < waited < 5


def test_a_long_wait_is_told_once(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """
    Who waits for the writer's lock learns after two seconds, once, who holds it and for how long
    the wait goes on; the write then happens.
    """
    with home.open(create=True) as registry:
        registry.add_workspace(workspace(home))
    holding, done = threading.Event(), threading.Event()

    def hold(connection: Any) -> None:
        holding.set()
        done.wait(60)

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            done.set()

    told = Told()

    def write() -> None:
        with home.open() as one:
            one.database.write(hold)

    thread = threading.Thread(target=write)
    thread.start()
    holding.wait(30)
    top = logging.getLogger("datastores.registry")
    top.addHandler(told)
    try:
        begin = time.monotonic()
        with home.open(patience_seconds=30) as other:
            other.put(WORKSPACE, blob(), Anonymous(), overwrite=False)
            names = other.names(WORKSPACE)
        waited = time.monotonic() - begin
    finally:
        top.removeHandler(told)
        done.set()
        thread.join()

    assert names == ["images"]
    assert waited >= sqlite_file.TELL_SECONDS
    (line,) = [record.getMessage() for record in caplog.records]
    assert '" is being written to by ' in line
    assert line.endswith("waiting up to 28 s more")


def test_a_writer_that_gives_up_names_the_bound(postgres_home: Home) -> None:
    """
    The refusal says who wrote, and for how long the wait went on.
    """
    with postgres_home.open(create=True) as registry:
        registry.add_workspace(workspace(postgres_home))
        holding, done = threading.Event(), threading.Event()

        def hold(connection: Any) -> None:
            holding.set()
            done.wait(60)

        thread = threading.Thread(target=lambda: registry.database.write(hold))
        thread.start()
        holding.wait(30)
        try:
            with (
                postgres_home.open(patience_seconds=1) as other,
                pytest.raises(RegistryBusy) as refused,
            ):
                other.put(WORKSPACE, blob(), Anonymous(), overwrite=False)
        finally:
            done.set()
            thread.join()
        # A connection that lost its turn can be used again.
        registry.put(WORKSPACE, blob(), Anonymous(), overwrite=False)

    assert re.search(
        r"another process \(number \d+ of the server, datastores(, from \S+)?\) is writing to it "
        r"and did not end within 1 s; try again$",
        str(refused.value),
    )


def test_the_holder_of_a_lock_is_named(tmp_path: Path) -> None:
    """
    A file that another process has locked names that process; a free one and none name nobody.
    """
    path = tmp_path / "file"
    path.touch()
    script = (
        "import fcntl, sys\n"
        f"file = open({str(path)!r}, 'w')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    free = holder(path)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = holder(path)
        process.communicate(timeout=30)

    assert held.startswith(f"process {process.pid} (")
    assert (free, holder(tmp_path / "nothing")) == ("", "")


def test_an_empty_file_is_no_registry(tmp_path: Path) -> None:
    """
    A file without a byte is refused with a way out, and stays as it is.
    """
    path = tmp_path / "registry.db"
    path.touch()

    with pytest.raises(
        RegistryUnreachable, match=r'is empty.* backup.*"datastores ws create NAME"'
    ):
        Registry.open(path)

    assert [(child.name, child.stat().st_size) for child in tmp_path.iterdir()] == [
        ("registry.db", 0)
    ]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can reach."""
    folder = Path(tempfile.mkdtemp(prefix="registry-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_who_may_not_write_may_still_read(open_folder: Path, locked: str) -> None:
    """
    In a file or folder that cannot be written, records are read and writes are refused.
    """
    path = open_folder / "registry.db"
    home = Home(str(path), open_folder / "vault.key")
    with home.open(create=True) as registry:
        registry.add_workspace(workspace(home))
        record = registry.put(WORKSPACE, blob(), Anonymous(), overwrite=False)
    path.chmod(0o444 if locked == "file" else 0o666)
    open_folder.chmod(0o777 if locked == "file" else 0o555)

    def look() -> None:
        with home.open() as other:
            assert other.list(WORKSPACE) == [record]
            with pytest.raises(RegistryReadOnly, match="ask for write access"):
                other.remove(WORKSPACE, "images")

    assert forked(look, as_nobody=True) == 0
    with home.open() as registry:
        assert registry.list(WORKSPACE) == [record]


def test_a_reader_without_write_access_follows_a_writer(open_folder: Path) -> None:
    """
    A process that may only read sees each state while another process is changing it, whole.
    """
    home = Home(str(open_folder / "registry.db"), open_folder / "vault.key")
    with home.open(create=True) as registry:
        registry.add_workspace(workspace(home))
        registry.put(WORKSPACE, blob("images-0"), Anonymous(), overwrite=False)
        stop = threading.Event()

        def write() -> None:
            turn = 0
            while not stop.is_set():
                turn += 1
                registry.put(WORKSPACE, blob(f"images-{turn}"), Anonymous(), overwrite=False)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            code = forked(lambda: _watch_growing(home), as_nobody=True)
        finally:
            stop.set()
            writer.join()

    assert code == 0


def test_a_read_only_database_can_be_read(postgres_home: Home, postgres: PostgresServer) -> None:
    """
    A PostgreSQL database that takes no writes is read, and writing says so.
    """
    with postgres_home.open(create=True) as registry:
        registry.add_workspace(workspace(postgres_home))
    name = postgres_home.address.rpartition("/")[2]
    postgres.execute(name, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')

    with postgres_home.open() as other:
        assert [record.name for record in other.workspaces()] == [WORKSPACE]
        with pytest.raises(RegistryReadOnly, match="ask for write access"):
            other.put(WORKSPACE, blob(), Anonymous(), overwrite=False)


@pytest.mark.parametrize(
    "garbage", [b"not a database at all" * 300, b"SQLite format 3\0" + b"x" * 9000]
)
def test_a_damaged_file_is_named(tmp_path: Path, garbage: bytes) -> None:
    """
    A file that is no database is reported with its path, and left as it was.
    """
    path = tmp_path / "registry.db"
    path.write_bytes(garbage)

    for create in (False, True):
        with pytest.raises(RegistryUnreachable, match=f"{path}.*damaged.*backup"):
            Registry.open(path, create=create)

    assert path.read_bytes() == garbage


def test_damaged_pages_are_reported(sqlite_home: Home) -> None:
    """
    A registry whose pages were overwritten fails with its path instead of wrong records.
    """
    with sqlite_home.open(create=True) as registry:
        registry.add_workspace(workspace(sqlite_home))
        registry.put(WORKSPACE, blob(), Anonymous(), overwrite=False)
        path = Path(sqlite_home.address)
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))

        with pytest.raises(RegistryUnreachable, match=f"{path}.*damaged"):
            registry.list(WORKSPACE)


def test_a_damaged_record_is_reported(sqlite_home: Home) -> None:
    """
    A record that is no JSON any more is an error of the registry, not of Python.
    """
    with sqlite_home.open(create=True) as registry:
        registry.database.write(_break_settings)

        with pytest.raises(RegistryUnreachable, match="a record is damaged"):
            registry.workspaces()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    """
    Nothing listening is reported with host and port, at once and without the password.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        with pytest.raises(RegistryUnreachable) as error:
            Registry.open(f"postgresql://me:hidden-pw@127.0.0.1:{port}/db")

    assert f"127.0.0.1:{port}" in str(error.value)
    assert "hidden-pw" not in str(error.value)
    assert error.value.temporary


def test_a_silent_server_is_given_up_within_a_bound() -> None:
    """
    A server that accepts and never answers ends in `RegistryUnreachable` after the time given.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begin = time.monotonic()

        with pytest.raises(RegistryUnreachable, match=f"127.0.0.1:{port}"):
            Registry.open(f"postgresql://me:pw@127.0.0.1:{port}/db?connect_timeout=2")

    assert time.monotonic() - begin < 8


def test_a_server_that_falls_silent_is_given_up_within_a_bound(
    postgres_home: Home,
) -> None:
    """
    A transaction whose answer never comes ends in `RegistryUnreachable` at its limit.
    """
    place = parse_address(Secret(postgres_home.address))
    assert isinstance(place, PostgresDatabase)
    impatient = PostgresDatabase(
        place.label, place.where, place.parameters, place.secrets, transaction_seconds=1.0
    )
    database = Database.of(impatient, 20)
    begin = time.monotonic()

    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1"):
        database.read(lambda connection: connection.exec_driver_sql("SELECT pg_sleep(50)").all())
    again = database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar_one())
    database.close()

    assert (again, time.monotonic() - begin < 10) == (1, True)


def test_lost_connections_are_replaced(postgres_home: Home, postgres: PostgresServer) -> None:
    """
    A registry goes on after its idle connections were cut, as by a restart of the server.
    """
    with postgres_home.open(create=True) as registry:
        registry.add_workspace(workspace(postgres_home))
        name = postgres_home.address.rpartition("/")[2]
        cut = postgres.execute(
            "postgres",
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'",
        )

        assert [record.name for record in registry.workspaces()] == [WORKSPACE]
    assert cut == [(True,)]


def test_a_wrong_password_is_told_from_a_missing_server(postgres: PostgresServer) -> None:
    """
    A refused password is `CredentialRefused`, and neither password is shown.
    """
    address = f"postgresql://{postgres.user}:wrong-pw@{postgres.host}:{postgres.port}/postgres"

    with pytest.raises(CredentialRefused) as error:
        Registry.open(address)

    assert "wrong-pw" not in str(error.value)
    assert "password authentication failed" in str(error.value)


@pytest.mark.parametrize("way", ["PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE"])
def test_libpqs_own_places_for_passwords_work(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """
    An address without a password is completed by libpq's environment, password and service files.
    """
    name = postgres.database()
    address, password = postgres.url(name), postgres.password.reveal()
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    file = tmp_path / "file"
    match way:
        case "PGPASSWORD":
            monkeypatch.setenv(way, password)
        case "PGPASSFILE":
            file.write_text(f"{postgres.host}:{postgres.port}:*:{postgres.user}:{escaped}\n")
            monkeypatch.setenv(way, str(file))
        case "PGSERVICEFILE":
            lines = {"host": postgres.host, "port": postgres.port, "dbname": name}
            lines |= {"user": postgres.user, "password": password}
            text = "".join(f"{field}={value}\n" for field, value in lines.items())
            file.write_text(f"[mine]\n{text}")
            monkeypatch.setenv(way, str(file))
            address = "postgresql://?service=mine"
    if file.exists():
        file.chmod(0o600)

    with Registry.open(address, create=True) as registry:
        assert registry.workspaces() == []


def test_tls_is_checked_when_asked_for(postgres: PostgresServer) -> None:
    """
    With `sslmode=verify-full` the server's certificate must be one the address trusts.
    """
    address = postgres.url(postgres.database(), password=True) + "?sslmode=verify-full"

    with Registry.open(f"{address}&sslrootcert={postgres.certificate}", create=True) as registry:
        encrypted = registry.database.read(
            lambda connection: connection.exec_driver_sql(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            ).scalar_one()
        )
    assert encrypted is True
    with pytest.raises(RegistryUnreachable, match="certificate"):
        Registry.open(f"{address}&sslrootcert=/nowhere")


def _with_next_step(tmp_path: Path, more: str = "") -> History:
    """The shipped history and one step more."""
    location = tmp_path / "migrations"
    shutil.copytree(Path(migrate.__file__).parent / "migrations", location)
    (location / "versions" / f"schema_{AFTER}.py").write_text(f"{NEXT_STEP}    {more}\n")
    return History(str(location), AFTER)


def _migrate(home: Home, history: History, start: Any) -> dict[str, Any]:
    database = _database(home)
    start.wait(timeout=60)
    bring_up_to_date(database, create=False, history=history)
    database.close()
    return {}


def _database(home: Home) -> Database:
    return Database.of(parse_address(Secret(home.address)), 60)


def _tables(connection: Any) -> list[str]:
    names: list[str] = connection.dialect.get_table_names(connection)
    return names


def _break_settings(connection: Any) -> None:
    connection.exec_driver_sql(
        "INSERT INTO workspaces VALUES ('i', 'broken', 's', 'g', '2026-01-01', '{}', NULL, '{oops')"
    )


def _watch_growing(home: Home) -> None:
    seen = [0]
    with home.open() as registry:
        deadline = time.monotonic() + 30
        while len(set(seen)) < 20 and time.monotonic() < deadline:
            try:
                names = {record.name for record in registry.list(WORKSPACE)}
            except RegistryBusy:
                continue
            assert names == {f"images-{number}" for number in range(len(names))}
            assert len(names) >= seen[-1]
            seen.append(len(names))
    assert len(set(seen)) >= 20, "the writer made no progress, so this proves nothing"
