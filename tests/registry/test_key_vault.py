"""Keys in Azure Key Vault, spoken to over HTTP with a server that checks tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from datastores.errors import VaultLocked
from datastores.registry.key_vault import KeyVaultSecret
from datastores.registry.keys import Key, KeyRing, key_source

TOKEN = "canary-bearer-token"


@dataclass(slots=True)
class Vault:
    """Secrets with their versions, as Key Vault's REST interface keeps them."""

    address: str = ""
    secrets: dict[str, list[str]] = field(default_factory=dict)
    # Answers to give before the real one.
    failures: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity whose token the vault accepts, or not."""

    token: str = TOKEN
    scopes: list[tuple[str, ...]] = field(default_factory=list)

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes.append(scopes)
        return AccessToken(self.token, int(time.time()) + 3600)


@pytest.fixture
def vault() -> Iterator[Vault]:
    kept = Vault()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            versions = kept.secrets.get(self._name())
            self._answer(200 if versions else 404, {"value": versions[-1]} if versions else {})

        def do_PUT(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._answer(200, body):
                kept.secrets.setdefault(self._name(), []).append(body["value"])

        def _name(self) -> str:
            return self.path.partition("?")[0].removeprefix("/secrets/")

        def _answer(self, status: int, body: dict[str, Any]) -> bool:
            kept.requests.append(f"{self.command} {self.path}")
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status = 401
            elif kept.failures:
                status = kept.failures.pop(0)
            text = json.dumps(body if status == 200 else {"error": {"code": "No"}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return status == 200

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.address = f"http://127.0.0.1:{server.server_address[1]}/secrets/vault-key"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield kept
        server.shutdown()
        thread.join()


def _source(vault: Vault, identity: Identity) -> KeyVaultSecret:
    return KeyVaultSecret.parse(vault.address, "here", identity)


def test_a_vaults_secret_keeps_a_ring(vault: Vault) -> None:
    """
    What was saved is loaded, through the documented requests, with a token for vaults.
    """
    identity = Identity()
    source = _source(vault, identity)
    assert source.load() is None
    ring = source.start().led_by(Key.generate())

    source.save(ring)

    assert source.load() == ring
    assert vault.requests == [
        f"{method} /secrets/vault-key?api-version=7.4"
        for method in ("GET", "PUT", "GET", "PUT", "GET")
    ]
    assert set(identity.scopes) == {("https://vault.azure.net/.default",)}


def test_a_refused_token_is_told(vault: Vault) -> None:
    """
    An identity without the right is told so, by the vault's address and without its token.
    """
    source = _source(vault, Identity("wrong-bearer-token"))

    for act in (source.load, source.start):
        with pytest.raises(VaultLocked, match="refuses this identity") as error:
            act()
        assert vault.address in str(error.value)
        assert "wrong-bearer-token" not in str(error.value)
    assert vault.secrets == {}


def test_passing_failures_are_tried_again(vault: Vault) -> None:
    """
    A busy vault is asked again; one that stays broken is named.
    """
    source = _source(vault, Identity())
    ring = source.start()
    vault.failures[:] = [503, 500]

    assert source.load() == ring
    vault.failures[:] = [503] * 20
    with pytest.raises(VaultLocked, match="answered 503; try again"):
        source.load()


@pytest.mark.parametrize("value", ["", "no key", "QUJD"])
def test_a_secret_that_is_no_key_is_refused(vault: Vault, value: str) -> None:
    """
    A secret with another content is called damaged and never replaced by a new key.
    """
    vault.secrets["vault-key"] = [value]

    with pytest.raises(VaultLocked, match="is damaged"):
        _source(vault, Identity()).load()

    assert vault.secrets == {"vault-key": [value]}


def test_a_vault_that_is_not_there_is_named(vault: Vault) -> None:
    """
    No answer is an error that names the address, within a bound.
    """
    source = KeyVaultSecret.parse("http://127.0.0.1:9/secrets/vault-key", "here", Identity())
    begin = time.monotonic()

    with pytest.raises(VaultLocked, match=r"http://127\.0\.0\.1:9/secrets/vault-key"):
        source.save(KeyRing.generate())

    assert time.monotonic() - begin < 25


def test_clouds_have_their_own_tokens() -> None:
    """
    The address decides which cloud's token is asked for.
    """
    for host, cloud in {
        "name.vault.azure.net": "vault.azure.net",
        "name.vault.azure.cn": "vault.azure.cn",
        "name.vault.usgovcloudapi.net": "vault.usgovcloudapi.net",
    }.items():
        source = key_source(f"keyvault:https://{host}/secrets/k", "here", None)
        assert isinstance(source, KeyVaultSecret)
        assert source.cloud == cloud
