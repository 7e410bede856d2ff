"""Requests to the blob service that obstore cannot make, through azure-core's pipeline."""

from __future__ import annotations

import contextlib
import email.utils
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from datastores.credentials.forms import STORAGE_SCOPE
from datastores.errors import CredentialRefused
from datastores.secret import masked
from datastores.storage.blob.failures import Answer, from_azure, refused
from datastores.storage.blob.place import Place
from datastores.storage.contract import Patience

if TYPE_CHECKING:
    from azure.core import PipelineClient
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential, TokenCredential
    from azure.core.rest import HttpRequest, HttpResponse

    Proof = AzureNamedKeyCredential | AzureSasCredential | TokenCredential | None
    Client = PipelineClient[HttpRequest, HttpResponse]

# The first version whose listings can carry every name that XML can, and no newer than needed:
# emulators and Azure Stack lag behind.
API_VERSION = "2021-12-02"

# An account key signs a SAS for our own requests, so that one way of authorising serves every
# credential without private parts of the SDK. Short, since accounts may forbid long ones.
_SAS_LIFETIME = timedelta(hours=1)
_PIECE_BYTES = 256 * 1024


class Wire:
    """Authorised requests about one container; each is made once, retrying is for the caller."""

    def __init__(self, place: Place, proof: Callable[[], Proof], patience: Patience) -> None:
        self._place = place
        self._proof = proof
        self._patience = patience
        self._lock = threading.Lock()
        # Under the lock: made at the first request, since making them reads the credential.
        self._client: Client | None = None
        self._sas: AzureSasCredential | None = None
        self._options: dict[str, Any] = {}
        self._named_key: AzureNamedKeyCredential | None = None
        self._sas_renewal = datetime.min.replace(tzinfo=UTC)

    @property
    def place(self) -> Place:
        return self._place

    def ask(
        self,
        method: str,
        key: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> HttpResponse:
        """The service's answer, read to its end; any but a 2xx raises."""
        return self._send(method, key, query, headers, body, stream=False)

    @contextlib.contextmanager
    def stream(
        self, key: str, *, headers: Mapping[str, str] | None = None
    ) -> Iterator[HttpResponse]:
        """The answer to a GET of one blob with its body unread; any but a 2xx raises."""
        response = self._send("GET", key, None, headers, None, stream=True)
        with response:
            yield response

    def pieces(self, key: str, response: HttpResponse) -> Iterator[bytes]:
        """The body of a streamed answer as it arrives."""
        from azure.core.exceptions import AzureError

        try:
            yield from response.iter_raw()
        except AzureError as error:
            raise from_azure(self._place, key, error) from masked(error)

    def signed(self, key: str) -> str:
        """The address of a blob with the SAS of this credential, if it has one."""
        self._ready()
        url = self._place.url(key)
        return f"{url}?{self._sas.signature.lstrip('?')}" if self._sas else url

    def close(self) -> None:
        """Let go of connections."""
        with self._lock:
            client, self._client = self._client, None
        if client:
            client.close()

    def _send(
        self,
        method: str,
        key: str | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        *,
        stream: bool,
    ) -> HttpResponse:
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        try:
            # No variable holds the request: its address gets the SAS, and crash reports print it.
            response = self._ready().send_request(
                HttpRequest(
                    method,
                    self._place.url(key, query),
                    headers={
                        "x-ms-version": API_VERSION,
                        "x-ms-date": email.utils.formatdate(usegmt=True),
                        "Content-Type": "application/octet-stream",
                        **(headers or {}),
                    },
                    content=body,
                ),
                stream=stream,
                **self._options,
            )
        except AzureError as error:
            raise from_azure(self._place, key, error) from masked(error)
        if response.status_code < 300:
            return response
        answer = _answer(response)
        response.close()
        raise refused(self._place, key, answer)

    def _ready(self) -> Client:
        with self._lock:
            client = self._client or self._made()
            self._client = client
            if self._named_key and datetime.now(UTC) >= self._sas_renewal:
                self._renew(self._named_key)
            return client

    def _made(self) -> Client:
        from azure.core import PipelineClient
        from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
        from azure.core.pipeline.policies import (
            AzureSasCredentialPolicy,
            BearerTokenCredentialPolicy,
        )

        proof = self._proof()
        policies: list[Any] = []
        if isinstance(proof, AzureNamedKeyCredential):
            self._named_key = proof
            policies.append(AzureSasCredentialPolicy(self._renew(proof)))
        elif isinstance(proof, AzureSasCredential):
            self._sas = proof
            policies.append(AzureSasCredentialPolicy(proof))
        elif proof is not None:
            policies.append(BearerTokenCredentialPolicy(proof, STORAGE_SCOPE))
            if self._place.is_plain_http:
                # A test service on this machine, `open_blob` lets no other pass; azure-core would
                # not send the token. Only this policy takes the option out again.
                self._options["enforce_https"] = False
        return PipelineClient(
            self._place.account_url, policies=policies, transport=_transport(self._patience)
        )

    def _renew(self, proof: AzureNamedKeyCredential) -> AzureSasCredential:
        from azure.core.credentials import AzureSasCredential
        from azure.core.exceptions import AzureError
        from azure.storage.blob import (
            AccountSasPermissions,
            ResourceTypes,
            generate_account_sas,
        )

        now = datetime.now(UTC)
        token = ""
        with contextlib.suppress(AzureError, ValueError):
            token = generate_account_sas(
                *proof.named_key,
                ResourceTypes(container=True, object=True),
                AccountSasPermissions(
                    read=True, write=True, delete=True, list=True, add=True, create=True
                ),
                now + _SAS_LIFETIME,
            )
        if not token:
            # Without the cause: its frames hold the key in their variables.
            raise CredentialRefused(
                self._place.label, "the account key is not base64; register the right one"
            )
        if self._sas:
            self._sas.update(token)
        else:
            self._sas = AzureSasCredential(token)
        self._sas_renewal = now + _SAS_LIFETIME / 2
        return self._sas


def _transport(patience: Patience) -> Any:
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    for scheme in ("http://", "https://"):
        # requests keeps 10 connections by default and throws the others away after each use.
        session.mount(scheme, HTTPAdapter(pool_maxsize=64))
    return RequestsTransport(
        session=session,
        session_owner=True,
        connection_timeout=patience.connect_seconds,
        read_timeout=patience.read_seconds,
        connection_data_block_size=_PIECE_BYTES,
    )


def _answer(response: HttpResponse) -> Answer:
    pause = response.headers.get("Retry-After", "")
    return Answer(
        response.status_code,
        response.headers.get("x-ms-error-code", ""),
        float(pause) if pause.isdigit() else None,
    )
