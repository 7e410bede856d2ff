"""Keys in a secret of Azure Key Vault, over its REST interface."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING, Any, ClassVar, Self

from datastores.errors import DatastoresError, VaultLocked
from datastores.registry.keys import KeyRing
from datastores.secret import Secret, masked, redact
from datastores.value import Value

if TYPE_CHECKING:
    from azure.core import PipelineClient
    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse

API_VERSION = "7.4"
TOTAL_SECONDS = 20

# A token for vaults is shown to vaults only: whoever can write the registry can write this address.
_CLOUDS = ("vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net")
_SECRET_PATH = re.compile(r"/secrets/[0-9a-zA-Z-]{1,127}\Z")


class KeyVaultSecret(Value):
    """`keyvault:<address of a secret>`; whoever this machine is needs to get and set secrets."""

    saves: ClassVar[bool] = True

    vault: str
    path: str
    cloud: str
    registry: str
    # None: the identity of this machine or user.
    credential: TokenCredential | None = None

    @classmethod
    def parse(cls, url: str, registry: str, credential: TokenCredential | None = None) -> Self:
        """The secret at an address; addresses that are no vault are refused."""
        parts = urllib.parse.urlsplit(url.rstrip("/"))
        host = parts.hostname or ""
        is_local = host in ("127.0.0.1", "localhost", "::1")
        cloud = next((name for name in _CLOUDS if host.endswith("." + name)), None)
        is_vault = parts.scheme == "https" and cloud and parts.port in (None, 443)
        if not _SECRET_PATH.match(parts.path) or not (is_local or is_vault):
            raise VaultLocked(
                registry, "a key vault's address looks like "
                f'"https://<vault>.vault.azure.net/secrets/<name>", and not like "{url}"; '
                "correct the key source",
            )  # fmt: skip
        vault = f"{parts.scheme}://{parts.netloc}"
        return cls(vault, parts.path, cloud or _CLOUDS[0], registry, credential)

    def load(self) -> KeyRing | None:
        response = self._send("GET")
        if response.status_code == 404:
            return None
        try:
            return KeyRing.parse(Secret(response.json()["value"] or " "))
        except (KeyError, TypeError):
            reason = "the answer holds no value"
        except ValueError as error:
            reason = str(error).partition("\n")[0]
        raise self._locked(f"is damaged: {reason}; restore an earlier version of it")

    def start(self) -> KeyRing:
        ring = KeyRing.generate()
        self.save(ring)
        # There is no "only if absent" here: whoever saved last has won, for everybody.
        return self.load() or ring

    def save(self, ring: KeyRing) -> None:
        response = self._send("PUT", ring)
        if response.status_code == 404:
            raise self._locked("cannot be written: no such vault; correct the address")

    def describe(self) -> str:
        return f"keyvault:{self.vault}{self.path}"

    def _send(self, method: str, ring: KeyRing | None = None) -> HttpResponse:
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        try:
            with self._client() as client:
                response: HttpResponse = client.send_request(
                    HttpRequest(
                        method,
                        self.vault + self.path,
                        params={"api-version": API_VERSION},
                        json={"value": ring.text(",").reveal()} if ring else None,
                    ),
                    # `parse` lets plain HTTP pass for this machine only.
                    enforce_https=self.vault.startswith("https:"),
                )
        except AzureError as error:
            raise self._locked(
                f"does not answer ({redact(str(error))}); check the address and the network"
            ) from masked(error)
        except DatastoresError as error:
            raise self._locked(f"gives no access: {error}") from masked(error)
        if response.status_code in (401, 403):
            raise self._locked("refuses this identity; give it the right to get and set secrets")
        if response.status_code not in (200, 404):
            raise self._locked(f"answered {response.status_code}; try again")
        return response

    def _client(self) -> PipelineClient[Any, Any]:
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy

        return PipelineClient(
            self.vault,
            policies=[
                RetryPolicy(retry_total=3, retry_backoff_factor=0.4, timeout=TOTAL_SECONDS),
                BearerTokenCredentialPolicy(
                    self._identity(),
                    f"https://{self.cloud}/.default",
                ),
            ],
            connection_timeout=5,
            read_timeout=10,
        )

    def _identity(self) -> TokenCredential:
        from datastores.credentials.kinds import Identity
        from datastores.credentials.tokens import token_credential

        return self.credential or token_credential(Identity(), store=self.describe())

    def _locked(self, reason: str) -> VaultLocked:
        return VaultLocked(self.registry, f'key source "{self.describe()}" {reason}')
