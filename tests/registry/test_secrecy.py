"""No secret where somebody might look."""

from __future__ import annotations

import traceback
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from datastores.credentials.kinds import Login
from datastores.errors import DatastoresError
from datastores.registry.key_places import KeyringService
from datastores.registry.key_vault import KeyVaultSecret
from datastores.registry.keys import KeyRing
from datastores.registry.registry import Registry
from datastores.registry.rotation import rotate
from datastores.secret import Secret
from tests.registry.conftest import CANARY, WORKSPACE, Home, blob, key, workspace
from tests.registry.test_key_sources import MemoryKeyring
from tests.registry.test_key_vault import TOKEN, Identity
from tests.servers.postgres import PostgresServer


def test_no_file_of_the_registry_holds_a_secret(sqlite_home: Home, tmp_path: Path) -> None:
    """
    Database, journal and all free pages hold neither secrets nor keys, at any moment.
    """
    with sqlite_home.open(create=True) as registry:
        registry.add_workspace(workspace(sqlite_home))

        def look(connection: object) -> list[str]:
            return _files_with(tmp_path, CANARY)

        registry.put(WORKSPACE, blob(), key(), overwrite=False)
        while_open = registry.database.write(look)
        registry.put(WORKSPACE, blob(), Login("me", Secret(CANARY + "2")), overwrite=True)
        rotate(registry, WORKSPACE)
        registry.remove(WORKSPACE, "images")
    ring = Secret(sqlite_home.key_file.read_text().strip())

    assert (while_open, _files_with(tmp_path, CANARY)) == ([], [])
    assert _files_with(tmp_path, ring.reveal()) == ["vault.key"]


def test_no_row_of_the_database_holds_a_secret(
    postgres_home: Home, postgres: PostgresServer
) -> None:
    """
    PostgreSQL's tables hold neither secrets nor keys, nor does what the server knows of sessions.
    """
    with postgres_home.open(create=True) as registry:
        registry.add_workspace(workspace(postgres_home))
        registry.put(WORKSPACE, blob(), key(), overwrite=False)
        name = postgres_home.address.rpartition("/")[2]
        text = "".join(
            str(postgres.execute(name, f"SELECT {table}::text FROM {table}"))
            for table in ("workspaces", "datastores", "secrets", "pg_stat_activity")
        )

    for secret in (CANARY, CANARY.encode().hex(), postgres_home.key_file.read_text().strip()):
        assert secret not in text
    assert "photos" in text


def test_reprs_show_no_secret(registry: Registry, home: Home, postgres: PostgresServer) -> None:
    """
    Nothing the package hands out prints a secret, the database's password, or a key.
    """
    record = registry.put(WORKSPACE, blob(), key(), overwrite=False)
    ring = registry.keychain.load(registry.workspace(WORKSPACE).settings)
    assert ring is not None
    database = registry.database

    shown = repr(
        [
            registry,
            record,
            registry.workspaces(),
            registry.unlock(WORKSPACE, "images"),
            ring,
            database.place,
            database.label,
            database.engine,
            vars(registry.keychain),
            vars(database),
        ]
    )

    for secret in (CANARY, postgres.password.reveal(), ring.current.text.reveal()):
        assert secret not in shown
    assert "images" in shown


def test_crash_reports_of_the_database_show_no_password(postgres: PostgresServer) -> None:
    """
    A report with every local variable of every frame has no password, however connecting failed.
    """
    password = "canary-pw-Zx9"
    for address in (
        f"postgresql://{postgres.user}:{password}@{postgres.host}:{postgres.port}/postgres",
        f"postgresql://{postgres.user}@{postgres.host}:{postgres.port}/postgres?password={password}",
        f"postgresql://me:{password}@127.0.0.1:9/db",
        f"postgresql://me:{password}@127.0.0.1:9/db?sslpassword={password}",
        f"postgresql://me:{password}@127.0.0.1:9/db?no_such_option=1",
        f"postgresql://me:{password}@127.0.0.1:no-port/db",
        f"mysql://me:{password}@127.0.0.1/db",
    ):
        assert password not in _report(address), address.replace(password, "...")


def test_crash_reports_of_registering_show_no_secret(registry: Registry, home: Home) -> None:
    """
    When registering or opening fails, no frame of ours or of a library's shows a secret or a key.
    """
    registry.put(WORKSPACE, blob("labels"), key("canary-labels"), overwrite=False)
    keys = Secret(home.key_file.read_text().strip())
    reports = []
    settings = registry.workspace(WORKSPACE).settings
    break_sealing = "ALTER TABLE secrets DROP COLUMN nonce"
    for chosen, statement in (
        ({"vault_key": "env:NOT_SET"}, "SELECT 1"),
        (settings, break_sealing),
    ):
        registry.set_settings(WORKSPACE, chosen)
        registry.database.write(partial(_execute, statement))
        for act in (
            lambda: registry.put(WORKSPACE, blob(), key(), overwrite=True),
            lambda: registry.credential(WORKSPACE, "labels"),
            lambda: rotate(registry, WORKSPACE),
        ):
            with pytest.raises(DatastoresError) as error:
                act()
            reports.append(_frames(error.value))

    text = "\n".join(reports)
    assert len(reports) == 6
    assert [one for one in (CANARY, "canary-labels", keys.reveal()) if one in text] == []


def test_crash_reports_of_key_sources_show_no_key() -> None:
    """
    When a vault or a keyring refuses a key, the report has neither the key nor the token.
    """
    import keyring

    ring = KeyRing.generate()
    broken = MemoryKeyring()
    broken.is_locked = True
    before = keyring.get_keyring()
    keyring.set_keyring(broken)
    reports = []
    try:
        for source in (
            KeyringService("service", "here"),
            KeyVaultSecret.parse("http://127.0.0.1:9/secrets/k", "here", Identity()),
        ):
            with pytest.raises(DatastoresError) as error:
                source.save(ring)
            reports.append(_frames(error.value))
    finally:
        keyring.set_keyring(before)

    text = "\n".join(reports)
    assert [one for one in (ring.current.text.reveal(), f"Bearer {TOKEN}") if one in text] == []


def _execute(statement: str, connection: Connection) -> None:
    connection.exec_driver_sql(statement)


def _report(address: str) -> str:
    try:
        Registry.open(address)
    except DatastoresError as error:
        # Without this function's own frame, which holds the address because it is the test.
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        return _frames(error)
    raise AssertionError("it opened")


def _frames(error: BaseException) -> str:
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(report.format())


def _files_with(folder: Path, text: str) -> list[str]:
    return [
        path.name
        for path in sorted(folder.rglob("*"))
        if path.is_file() and text.encode() in path.read_bytes()
    ]
