"""A real PostgreSQL server for the tests: password logins, TLS, a folder of its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from datastores.secret import Secret

OWNER = "registrar"
STARTS = 5


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server; `certificate` is what a client trusts for `sslmode=verify-full`."""

    host: str
    port: int
    user: str
    password: Secret
    certificate: Path
    binaries: Path

    def url(self, database: str, *, password: bool = False) -> str:
        """The address of one database, with the owner's password in it only on request."""
        login = self.user
        if password:
            login += ":" + urllib.parse.quote(self.password.reveal(), safe="")
        return f"postgresql://{login}@{self.host}:{self.port}/{database}"

    def database(self) -> str:
        """The name of a database made just now."""
        name = f"db_{uuid.uuid4().hex}"
        self.execute("postgres", f'CREATE DATABASE "{name}"')
        return name

    def execute(self, database: str, *statements: str) -> list[tuple[object, ...]]:
        """Run statements one by one, outside a transaction; the rows of the last one."""
        connection = psycopg2.connect(self.url(database, password=True))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole session; each test makes its own database."""
    # Not pytest's folder: a socket's path has 107 bytes, and the server's user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with running_server(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[PostgresServer]:
    """A server that keeps everything below `folder` and is stopped at the end of the block."""
    binaries = _binaries()
    user = _server_user()
    password = Secret(secrets.token_urlsafe(18) + "/@:'\\")
    _prepare(folder, user, password)
    _run(user, binaries / "initdb", *_initdb_arguments(folder))
    (folder / "password").unlink()
    port = _start(folder, binaries, user)
    try:
        yield PostgresServer("127.0.0.1", port, OWNER, password, folder / "server.crt", binaries)
    finally:
        _run(user, binaries / "pg_ctl", "stop", "-w", "-m", "immediate", "-D", folder / "data")


def _binaries() -> Path:
    """The newest server installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    in_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    if in_path:
        return Path(in_path).resolve().parent
    raise RuntimeError("these tests need a PostgreSQL server; install Debian's postgresql package")


def _server_user() -> str | None:
    # The server refuses to run as root; Debian's package brings the user.
    return "postgres" if os.geteuid() == 0 else None


def _prepare(folder: Path, user: str | None, password: Secret) -> None:
    (folder / "password").write_text(password.reveal())
    certificate, key = _certificate()
    (folder / "server.crt").write_bytes(certificate)
    (folder / "server.key").write_bytes(key)
    for name in ("password", "server.key"):
        (folder / name).chmod(0o600)
    folder.chmod(0o755)
    if user is not None:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user)


def _certificate() -> tuple[bytes, bytes]:
    """A self-signed certificate for this machine's own addresses, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _initdb_arguments(folder: Path) -> list[str]:
    return [
        f"--pgdata={folder / 'data'}",
        f"--username={OWNER}",
        f"--pwfile={folder / 'password'}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    ]


def _start(folder: Path, binaries: Path, user: str | None) -> int:
    """The port it listens on; another process may take a free port first, so try again."""
    for attempt in range(STARTS):
        port = _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "ssl": "on",
            "ssl_cert_file": folder / "server.crt",
            "ssl_key_file": folder / "server.key",
            "max_connections": 200,
            "fsync": "off",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = folder / f"server-{attempt}.log"
        try:
            _run(
                user, binaries / "pg_ctl", "start", "-w", "-t", "30", "-D", folder / "data",
                "-l", log, "-o", options,
            )  # fmt: skip
        except RuntimeError:
            if "could not bind" not in log.read_text():
                raise
        else:
            return port
    raise RuntimeError(f"no free port in {STARTS} attempts; see whether something takes them all")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _run(user: str | None, *command: str | Path) -> None:
    # pg_ctl hands its output pipe to the server, which would keep a pipe open for ever: a file.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, stdout=output, stderr=output, user=user, cwd="/", timeout=60, check=False
        )
        if done.returncode:
            output.seek(0)
            raise RuntimeError(f"{Path(command[0]).name} failed: {output.read().decode()}")
