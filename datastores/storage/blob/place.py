"""Where the blobs of one container are, and what messages about them need to know."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from datetime import datetime

from datastores.credentials.expiry import sas_expiry
from datastores.credentials.kinds import Credential, Sas
from datastores.definitions.azure_storage import BlobContainer, DataLakeGen2
from datastores.value import Value


class Place(Value):
    """One container as one credential sees it."""

    label: str
    account: str
    container: str
    account_url: str
    proof: str
    proof_ends: datetime | None = None

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urllib.parse.urlsplit(self.account_url).netloc

    @property
    def is_plain_http(self) -> bool:
        return self.account_url.startswith("http://")

    @property
    def hides_tokens(self) -> bool:
        """Whether a bearer token sent there stays between the two ends."""
        host = urllib.parse.urlsplit(self.account_url).hostname
        return not self.is_plain_http or host in ("127.0.0.1", "::1", "localhost")

    @property
    def identity(self) -> str:
        """The container without scheme and credential; both kinds of definition give the same."""
        _, _, bare = self.account_url.partition("://")
        return f"azure-blob://{bare}/{self.container}"

    def url(self, key: str | None = None, query: Mapping[str, str] | None = None) -> str:
        """The address of the container or of one blob, without a signature."""
        url = f"{self.account_url}/{self.container}"
        if key is not None:
            url += "/" + urllib.parse.quote(key, safe="/~")
        return f"{url}?{urllib.parse.urlencode(query)}" if query else url


def place_of(definition: BlobContainer | DataLakeGen2, credential: Credential) -> Place:
    """The place a definition names."""
    return Place(
        label=str(definition.name),
        account=definition.account,
        container=definition.container,
        account_url=definition.account_url.url,
        proof=credential.kind,
        proof_ends=sas_expiry(credential.token) if isinstance(credential, Sas) else None,
    )
