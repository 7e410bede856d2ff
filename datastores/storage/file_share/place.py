"""Where one share is, and what messages about it need to know."""

from __future__ import annotations

import urllib.parse
from datetime import datetime

from datastores.credentials.expiry import sas_expiry
from datastores.credentials.kinds import Credential, Sas
from datastores.definitions.azure_storage import FileShare
from datastores.value import Value


class Place(Value):
    """One share as one credential sees it."""

    label: str
    account: str
    share: str
    account_url: str
    proof: str
    proof_ends: datetime | None = None

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urllib.parse.urlsplit(self.account_url).netloc

    @property
    def identity(self) -> str:
        """The share without scheme and credential."""
        _, _, bare = self.account_url.partition("://")
        return f"azure-file://{bare}/{self.share}"


def place_of(definition: FileShare, credential: Credential) -> Place:
    """The place a definition names."""
    return Place(
        label=str(definition.name),
        account=definition.account,
        share=definition.container,
        account_url=definition.account_url.url,
        proof=credential.kind,
        proof_ends=sas_expiry(credential.token) if isinstance(credential, Sas) else None,
    )
