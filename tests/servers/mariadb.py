"""A real MariaDB server for the tests: password logins, TLS, a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

from datastores.secret import Secret
from tests.servers.postgres import _certificate

STARTS_WITHIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class MariaDbServer:
    """A running server; `certificate` is what a client must trust."""

    host: str
    port: int
    user: str
    password: Secret
    certificate: Path

    def database(self) -> str:
        """The name of a database made just now."""
        name = f"db_{uuid.uuid4().hex}"
        self.execute(None, f"CREATE DATABASE `{name}`")
        return name

    def execute(self, database: str | None, *statements: str) -> None:
        """Run statements one by one."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        connection = pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password.reveal(),
            database=database,
            autocommit=True,
            ssl=context,
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDbServer]:
    """One server for the whole session; each test makes its own database."""
    folder = Path(tempfile.mkdtemp(prefix="maria-"))
    try:
        with running_server(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_server(folder: Path) -> Iterator[MariaDbServer]:
    """A server that keeps everything below `folder` and is stopped at the end of the block."""
    install, server = _binary("mariadb-install-db"), _binary("mariadbd")
    certificate, key = _certificate()
    (folder / "server.crt").write_bytes(certificate)
    (folder / "server.key").write_bytes(key)
    password = Secret(secrets.token_urlsafe(18) + "/@:")
    # Runs before the server listens, so no login is ever without a password.
    (folder / "owner.sql").write_text(
        f"CREATE USER registrar@'%' IDENTIFIED BY '{password.reveal()}';\n"
        "GRANT ALL ON *.* TO registrar@'%' WITH GRANT OPTION;\n"
    )
    common = ["--no-defaults", f"--datadir={folder / 'data'}", *_as_root()]
    with (folder / "log").open("wb") as log:
        subprocess.run(
            [install, *common, "--auth-root-authentication-method=normal"],
            stdout=log,
            stderr=log,
            timeout=60,
            check=True,
        )
        port = _free_port()
        process = subprocess.Popen(
            [server, *common, *_settings(folder, port)], stdout=log, stderr=log
        )
        try:
            _wait_for(process, folder, port)
            yield MariaDbServer("127.0.0.1", port, "registrar", password, folder / "server.crt")
        finally:
            process.kill()
            process.wait(10)


def _binary(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError(
            f"these tests need {name}; install Debian's packages mariadb-server-core and mariadb-client-core"
        )
    return found


def _as_root() -> list[str]:
    # The server refuses to run as root by accident; here it is meant.
    return ["--user=root"] if os.geteuid() == 0 else []


def _settings(folder: Path, port: int) -> list[str]:
    return [
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--socket={folder / 'socket'}",
        f"--pid-file={folder / 'pid'}",
        f"--ssl-cert={folder / 'server.crt'}",
        f"--ssl-key={folder / 'server.key'}",
        f"--init-file={folder / 'owner.sql'}",
        "--innodb-flush-log-at-trx-commit=0",
        "--skip-name-resolve",
    ]


def _wait_for(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    """The server has no sign but its port; asking again is all one can do."""
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"mariadbd did not start: {(folder / 'log').read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
