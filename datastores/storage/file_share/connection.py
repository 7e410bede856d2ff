"""The client library, wired once per store: timeouts, connections, credential."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datastores.credentials.forms import for_azure_sdk
from datastores.credentials.kinds import Credential
from datastores.errors import CredentialMissing, CredentialRefused
from datastores.secret import Secret
from datastores.storage.contract import Patience
from datastores.storage.file_share.place import Place

if TYPE_CHECKING:
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.fileshare import ShareClient, ShareDirectoryClient, ShareFileClient

# Requests closes what does not fit, and a connection per thread is what the callers need.
CONNECTIONS = 64

# The transport's own 4 KiB cost 4.5 ms of CPU for each MiB read; these cost 1.8 ms.
BLOCK_BYTES = 1024 * 1024

# Retrying is the caller's, who knows the whole budget.
_NO_RETRIES: Mapping[str, int] = {
    "retry_total": 0,
    "retry_connect": 0,
    "retry_read": 0,
    "retry_status": 0,
}


def connect(place: Place, credential: Credential, patience: Patience) -> Connection:
    """A connection that has not sent anything yet."""
    from azure.core.credentials import AzureSasCredential

    proof = for_azure_sdk(credential, place.account, store=place.label)
    if proof is None:
        raise CredentialMissing(
            place.label,
            "file shares are never public; register an account key, a SAS or an identity",
        )
    is_token = hasattr(proof, "get_token")
    if is_token and place.account_url.startswith("http://"):
        raise CredentialRefused(
            place.label, "tokens travel over https only; use an https endpoint, a SAS or a key"
        )
    options: dict[str, Any] = {
        "share_name": place.share,
        "token_intent": "backup" if is_token else None,
        # Without these the service cuts dots off the ends of names.
        "allow_trailing_dot": True,
        "allow_source_trailing_dot": True,
        **_NO_RETRIES,
    }
    if isinstance(proof, AzureSasCredential):
        return Connection(place.account_url, Secret(proof.signature.lstrip("?")), options, patience)
    return Connection(place.account_url, None, {**options, "credential": proof}, patience)


def _transport(patience: Patience) -> RequestsTransport:
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(CONNECTIONS, CONNECTIONS, max_retries=0))
    return RequestsTransport(
        session=session,
        connection_timeout=patience.connect_seconds,
        read_timeout=patience.read_seconds,
        connection_data_block_size=BLOCK_BYTES,
    )


class Connection:
    """Clients for the share, its folders and files, over one pool of connections."""

    def __init__(
        self, account_url: str, sas: Secret | None, options: Mapping[str, Any], patience: Patience
    ) -> None:
        self._account_url, self._sas = account_url, sas
        self._options, self._patience = options, patience
        self._lock = threading.Lock()
        self._share: ShareClient | None = None  # under the lock

    @property
    def patience(self) -> Patience:
        return self._patience

    def share(self) -> ShareClient:
        """The share itself."""
        from azure.storage.fileshare import ShareClient

        with self._lock:
            if self._share is None:
                # In the address and not as a credential: the service wants the signature in the
                # source address of renames and copies, too, and the client puts it there.
                self._share = ShareClient(
                    f"{self._account_url}?{self._sas.reveal()}" if self._sas else self._account_url,
                    transport=_transport(self._patience),
                    **self._options,
                )
            return self._share

    def file(self, key: str) -> ShareFileClient:
        return self.share().get_file_client(key)

    def folder(self, place: str) -> ShareDirectoryClient:
        return self.share().get_directory_client(place)

    def renew(self) -> None:
        """In a forked child: connections are shared with the parent, who goes on using them."""
        self._lock = threading.Lock()
        self._share = None

    def close(self) -> None:
        with self._lock:
            share, self._share = self._share, None
        if share:
            share.close()
