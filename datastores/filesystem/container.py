"""adlfs on the credential and the address that a datastore was registered with."""

from __future__ import annotations

from typing import Any

from adlfs import AzureBlobFileSystem
from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

from datastores.credentials.forms import for_async_azure_sdk
from datastores.credentials.kinds import Credential
from datastores.definitions import BlobContainer, DataLakeGen2
from datastores.storage.contract import Patience


class ContainerFileSystem(AzureBlobFileSystem):  # type: ignore[misc]  # adlfs has no types
    """adlfs, connected by us: any endpoint, any credential, and no key among its own attributes.

    adlfs prefers `AZURE_STORAGE_*` variables of the environment to what it is told and keeps keys
    in its storage options, where pickles and caches find them.
    """

    cachable = False

    def __init__(self, definition: BlobContainer | DataLakeGen2, credential: Credential) -> None:
        self._definition, self._credential = definition, credential
        super().__init__(account_name=definition.account, anon=True, use_listings_cache=False)

    def do_connect(self) -> None:
        """Called by adlfs when it needs its client."""
        definition = self._definition
        self.account_url = definition.account_url.url
        self.account_key = self.sas_token = self.connection_string = None
        credential: Any = for_async_azure_sdk(
            self._credential, definition.account, store=str(definition.name)
        )
        patience = Patience()
        self.service_client = BlobServiceClient(
            self.account_url,
            credential=credential,
            # Its own pauses begin at fifteen seconds, so an absent host would take two minutes.
            retry_policy=ExponentialRetry(1, 2, 2),
            connection_timeout=patience.connect_seconds,
            read_timeout=patience.read_seconds,
        )
