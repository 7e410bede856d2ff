"""Connections to a real PostgreSQL, and how they fail."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Engine

from datastores.credentials.forms import DatabaseLogin
from datastores.credentials.kinds import Login
from datastores.definitions import LocalFolder, PostgreSql
from datastores.errors import (
    CredentialRefused,
    DefinitionRejected,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.contract import Patience
from datastores.storage.rows.batches import read_batches
from datastores.storage.rows.connecting import connect
from datastores.storage.rows.engine import check, open_engine
from datastores.storage.rows.plan import Options, plan_connection
from datastores.storage.rows.query import Query
from tests.rows.conftest import NAME, Place

SHORT = Patience(connect_seconds=2)
LOGIN = Login("ann", Secret("some-password-1"))


def test_encrypted_by_default(engine: Engine) -> None:
    """Without a word about it, the connection uses TLS."""
    query = Query(text="SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")

    (batch,) = read_batches(engine, query)

    assert batch.to_pylist() == [{"ssl": True}]


def test_no_secret_in_an_engine(place: Place, engine: Engine) -> None:
    """The engine's text and URL hold no password."""
    shown = f"{engine!r} {engine.url.render_as_string(hide_password=False)}"

    assert place.login.password.reveal() not in shown


def test_verifies_with_a_root_certificate(place: Place) -> None:
    """With the right root certificate the server's name is verified and the login succeeds."""
    options = Options(root_certificate=str(place.server.certificate))

    check(place.definition, place.login, SHORT, options=options)


def test_refuses_another_certificate(place: Place, tmp_path: Path) -> None:
    """A server whose certificate the root did not sign is not spoken to."""
    from tests.servers.postgres import _certificate

    other = tmp_path / "other.crt"
    other.write_bytes(_certificate()[0])

    with pytest.raises(DefinitionRejected, match=r"certificate of 127\.0\.0\.1"):
        check(place.definition, place.login, SHORT, options=Options(root_certificate=str(other)))


def test_wrong_password(place: Place) -> None:
    """A wrong password is `CredentialRefused`, in one line, without the password."""
    wrong = Secret("not-the-password-7")

    with pytest.raises(CredentialRefused) as refused:
        check(place.definition, Login(place.login.username, wrong), SHORT)

    sentence = str(refused.value)
    assert (refused.value.store, wrong.reveal() in sentence, "\n" in sentence) == (
        "warehouse",
        False,
        False,
    )


def test_unknown_database(place: Place) -> None:
    """A database that is not there is `NotFound` under its name."""
    with pytest.raises(NotFound) as missing:
        check(replace(place.definition, database="nowhere"), place.login, SHORT)

    assert (missing.value.store, missing.value.key) == ("warehouse", "nowhere")


def test_nobody_listens() -> None:
    """A port where nobody listens is `Unavailable`, at once, in one line naming host and port."""
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        started = time.monotonic()

        with pytest.raises(Unavailable) as unreachable:
            check(PostgreSql(NAME, "127.0.0.1", "d", port=port), LOGIN, SHORT)

    sentence = str(unreachable.value)
    assert time.monotonic() - started < 2
    assert (f"127.0.0.1:{port}" in sentence, "\n" in sentence) == (True, False)


def test_a_silent_host() -> None:
    """A host that accepts and says nothing is `Unavailable` within the bound."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        started = time.monotonic()

        with pytest.raises(Unavailable, match="timeout expired"):
            check(PostgreSql(NAME, "127.0.0.1", "d", port=port), LOGIN, SHORT)

    assert time.monotonic() - started < 4


def test_a_server_without_tls() -> None:
    """A server that declines TLS gets no password, and the sentence names `enforce_ssl`."""
    received: list[bytes] = []

    def decline(line: socket.socket) -> None:
        line.recv(8)
        line.sendall(b"N")
        received.append(line.recv(1024))

    with (
        answering(decline) as port,
        pytest.raises(DefinitionRejected, match="enforce_ssl=False"),
    ):
        check(PostgreSql(NAME, "127.0.0.1", "d", port=port), LOGIN, SHORT)

    assert received == [b""]


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server for one connection; the block ends when it has answered."""

    def serve() -> None:
        line, _ = listener.accept()
        with line:
            answer(line)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(10)


def test_a_table_one_may_not_read(place: Place) -> None:
    """A table the user may not read is `PermissionDenied` under its name."""
    role = f"r_{place.definition.database}"
    place.execute("CREATE TABLE closed (a int)", f"CREATE ROLE {role} LOGIN PASSWORD 'reader-pw-1'")
    engine = open_engine(place.definition, Login(role, Secret("reader-pw-1")))
    try:
        with pytest.raises(PermissionDenied) as denied:
            list(read_batches(engine, Query(table="closed")))
    finally:
        engine.dispose()

    assert (denied.value.store, denied.value.key) == ("warehouse", "closed")


@pytest.mark.parametrize(
    ("query", "key"),
    [
        (Query(table="nowhere"), "nowhere"),
        (Query(table="no.where"), "no.where"),
        (Query(procedure="nothing"), "nothing"),
    ],
)
def test_unknown_things(engine: Engine, query: Query, key: str) -> None:
    """A table, schema or function that is not there is `NotFound` under its name."""
    with pytest.raises(NotFound) as missing:
        list(read_batches(engine, query))

    assert missing.value.key == key


@pytest.mark.parametrize(
    "text",
    [
        "SELEKT 1",
        "SELECT nope",
        "SELECT 1 / 0 AS x",
        "SELECT 1 AS a; SELECT 2 AS a",
        "SELECT 1 AS a, 2 AS a",
        "DELETE FROM pg_class",
        "SELECT 'a' + 1",
    ],
)
def test_bad_queries(engine: Engine, text: str) -> None:
    """A query the server cannot run is `DefinitionRejected`, in one line."""
    with pytest.raises(DefinitionRejected) as rejected:
        list(read_batches(engine, Query(text=text)))

    assert "\n" not in str(rejected.value)


def test_secrets_in_a_query_are_redacted(engine: Engine) -> None:
    """A server's complaint that quotes a secret is shown with the secret masked."""
    secret = Secret("hidden-value-42")

    with pytest.raises(DefinitionRejected) as rejected:
        list(read_batches(engine, Query(text=f"SELECT '{secret.reveal()}'::int AS x")))

    assert (secret.reveal() in str(rejected.value), "********" in str(rejected.value)) == (
        False,
        True,
    )


def test_a_statement_that_runs_too_long(place: Place) -> None:
    """A statement beyond its time is ended by the server and is `Unavailable`."""
    engine = open_engine(place.definition, place.login, options=Options(statement_seconds=0.1))
    try:
        with pytest.raises(Unavailable, match="timeout"):
            list(read_batches(engine, Query(text="SELECT pg_sleep(30)::text AS x")))
    finally:
        engine.dispose()


def test_tokens_are_asked_for_at_each_connection(place: Place) -> None:
    """A second connection uses the token of its own moment, so that tokens renew."""
    role = f"r_{place.definition.database}"
    tokens = iter(["token-of-today", "token-of-tomorrow"])
    login = DatabaseLogin(role, access_token=lambda: Secret(next(tokens)))
    plan = plan_connection(place.definition, login)

    place.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'token-of-today'")
    connect(plan, place.definition, login, psycopg2).close()
    place.execute(f"ALTER ROLE {role} PASSWORD 'token-of-tomorrow'")
    connect(plan, place.definition, login, psycopg2).close()

    assert list(tokens) == []


def test_too_many_readers(place: Place) -> None:
    """A reader beyond the pool's size waits no longer than a connect may take, and is told why."""
    engine = open_engine(place.definition, place.login, Patience(connect_seconds=0.2))
    query = Query(text="SELECT generate_series(1, 10000000) AS g")
    readers = [read_batches(engine, query, batch_rows=10) for _ in range(15)]
    try:
        for reader in readers:
            next(reader)

        with pytest.raises(Unavailable, match="all connections"):
            next(read_batches(engine, query))
    finally:
        for reader in readers:
            reader.close()
        engine.dispose()


def test_check_leaves_nothing_open(place: Place) -> None:
    """After `check` the server has no connection of ours."""
    check(place.definition, place.login, SHORT)

    left = place.execute(
        "SELECT pg_sleep(0.2)",
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'datastores'"
        " AND datname = current_database()",
    )
    assert left == []


def test_stores_of_files_have_no_rows() -> None:
    """A datastore of files is refused in a sentence, not by an attribute error."""
    with pytest.raises(Unsupported, match="holds files"):
        open_engine(LocalFolder(DatastoreName("disk"), "/data"), LOGIN)


@pytest.mark.parametrize(
    ("missing", "call", "extra"),
    [
        ("pymysql", "open_engine(MySql(NAME, 's', 'd'), LOGIN)", "datastores[mysql]"),
        ("pyodbc", "open_engine(SqlDatabase(NAME, 's', 'd'), LOGIN)", "datastores[sqlserver]"),
        (
            "pyarrow",
            "next(read_batches(open_engine(PostgreSql(NAME, 's', 'd'), LOGIN), Query(table='t')))",
            "datastores[datasets]",
        ),
    ],
)
def test_missing_packages(missing: str, call: str, extra: str) -> None:
    """Where a package is not installed, the sentence is the command that installs it."""
    script = f"""
import sys
sys.modules[{missing!r}] = None
from datastores.credentials.kinds import Login
from datastores.definitions import MySql, PostgreSql, SqlDatabase
from datastores.errors import Unsupported
from datastores.names import DatastoreName
from datastores.secret import Secret
from datastores.storage.rows.batches import read_batches
from datastores.storage.rows.engine import open_engine
from datastores.storage.rows.query import Query
NAME, LOGIN = DatastoreName("warehouse"), Login("ann", Secret("some-password-1"))
try:
    {call}
except Unsupported as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert f"pip install '{extra}'" in done.stdout
