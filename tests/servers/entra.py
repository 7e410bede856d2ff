"""A stand-in for Microsoft Entra and what it guards, and Azurite that believes its tokens."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.core.pipeline.transport import RequestsTransport
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
CLIENT_SECRET = "canary~client.secret"
ASSERTION = "canary.federated.assertion"
BLOB = b"guarded bytes"


@dataclass(frozen=True, slots=True)
class Issued:
    """One token that was handed out, and to whom."""

    token: str
    grant: str
    client_id: str | None
    scope: str


@dataclass(slots=True)
class Entra:
    """The running server: what it issued, and what it shall do next."""

    url: str
    issued: list[Issued] = field(default_factory=list)
    authorized: list[str] = field(default_factory=list)
    lifetime_seconds: int = 3600
    # Status and body of every further answer to a token request, instead of a token.
    refusal: tuple[int, dict[str, Any]] | None = None
    # While cleared, token requests wait.
    gate: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def transport(self) -> EntraTransport:
        return EntraTransport(self.url)


class EntraTransport(RequestsTransport):  # type: ignore[misc]  # lazily loaded, so untyped
    """Sends every request, whatever its host, to the stand-in."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: Any, **options: Any) -> Any:
        parts = urllib.parse.urlsplit(request.url)
        local = urllib.parse.urlsplit(self._url)
        request.url = urllib.parse.urlunsplit(
            (local.scheme, local.netloc, parts.path, parts.query, "")
        )
        return super().send(request, **options)


def storage_jwt(
    lifetime_seconds: int, audience: str = "https://storage.azure.com", serial: int = 0
) -> str:
    """A token of the shape that Azurite checks: issuer, audience and times, not its signature."""
    now = int(time.time())
    claims = {
        "iss": f"https://sts.windows.net/{TENANT}/",
        "aud": audience,
        "iat": now - 5,
        "nbf": now - 5,
        "exp": now + lifetime_seconds,
        "tid": TENANT,
        "oid": CLIENT,
        "serial": serial,
    }
    return jwt.encode(claims, "a key that nobody checks, long enough", algorithm="HS256")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        if parts.path.endswith("/.well-known/openid-configuration"):
            self._answer(200, self._discovery(parts.path.split("/")[1]))
        elif parts.path.endswith("/discovery/instance"):
            self._answer(200, {"tenant_discovery_endpoint": "", "metadata": []})
        elif parts.path == "/metadata/identity/oauth2/token":
            self._metadata_token(query)
        else:
            self._guarded()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        form = dict(urllib.parse.parse_qsl(body.decode()))
        known = form.get("client_id") == CLIENT and (
            form.get("client_secret") == CLIENT_SECRET or form.get("client_assertion") == ASSERTION
        )
        if not known:
            self._answer(
                401,
                {
                    "error": "invalid_client",
                    "error_description": "AADSTS7000215: Invalid client secret provided. "
                    "Trace ID: 0000 Correlation ID: 1111 Timestamp: 2020-01-01",
                    "error_codes": [7000215],
                },
            )
            return
        self._token(form["grant_type"], form["client_id"], form["scope"].split()[0])

    def _metadata_token(self, query: dict[str, str]) -> None:
        if self.headers.get("Metadata") != "true":
            self._answer(400, {"error": "invalid_request"})
        elif query.get("client_id") not in (None, CLIENT):
            self._answer(
                400, {"error": "invalid_request", "error_description": "Identity not found"}
            )
        else:
            self._token("metadata", query.get("client_id"), query["resource"])

    def _token(self, grant: str, client_id: str | None, scope: str) -> None:
        entra = self.server.entra
        entra.waiting.release()
        entra.gate.wait(30)
        if entra.refusal:
            self._answer(*entra.refusal)
            return
        token = storage_jwt(entra.lifetime_seconds, serial=len(entra.issued))
        entra.issued.append(Issued(token, grant, client_id, scope))
        self._answer(
            200,
            {
                "access_token": token,
                "token_type": "Bearer",
                "resource": scope,
                "expires_in": entra.lifetime_seconds,
                "expires_on": str(int(time.time()) + entra.lifetime_seconds),
            },
        )

    def _guarded(self) -> None:
        entra = self.server.entra
        authorization = self.headers.get("Authorization", "")
        entra.authorized.append(authorization)
        if authorization.removeprefix("Bearer ") not in [one.token for one in entra.issued]:
            self._answer(403, {"error": "who are you"})
            return
        self._send(
            200,
            BLOB,
            {
                "ETag": '"0x1"',
                "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT",
                "x-ms-blob-type": "BlockBlob",
                "Content-Type": "application/octet-stream",
                "Content-Range": f"bytes 0-{len(BLOB) - 1}/{len(BLOB)}",
            },
        )

    def _discovery(self, tenant: str) -> dict[str, str]:
        # The addresses must be https; the transport leads them back here.
        root = f"https://login.example/{tenant}"
        return {
            "issuer": f"https://login.example/{tenant}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
        }

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silence."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    entra: Entra


@contextmanager
def running_entra(certificate: Certificate | None = None) -> Iterator[Entra]:
    """The stand-in on a free port, over TLS when there is a certificate."""
    server = _Server(("127.0.0.1", 0), _Handler)
    scheme = "http"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    server.entra = Entra(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    server.entra.gate.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.entra
    finally:
        server.entra.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def entra() -> Iterator[Entra]:
    with running_entra() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a self-signed certificate for 127.0.0.1."""

    cert: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    made.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


@dataclass(frozen=True, slots=True)
class TokenAzurite:
    """Azurite over https, which also accepts tokens of the right shape."""

    endpoint: str
    account: str
    key: str
    certificate: Certificate


@pytest.fixture(scope="session")
def token_azurite(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TokenAzurite]:
    binary = Path(__file__).parents[2] / ".tools" / "node_modules" / ".bin" / "azurite-blob"
    with subprocess.Popen(
        [
            binary,
            "--inMemoryPersistence",
            "--disableTelemetry",
            "--skipApiVersionCheck",
            *("--blobPort", "0"),
            *("--oauth", "basic"),
            *("--cert", certificate.cert),
            *("--key", certificate.key),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path_factory.mktemp("azurite"),
    ) as process:
        try:
            assert process.stdout is not None
            with closing(process.stdout) as lines:
                said = next(line for line in iter(lines.readline, "") if "listens on" in line)
                yield TokenAzurite(
                    said.split()[-1] + "/devstoreaccount1",
                    "devstoreaccount1",
                    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
                    "K1SZFPTOtr/KBHBeksoGMGw==",
                    certificate,
                )
        finally:
            process.terminate()
            process.wait(10)
