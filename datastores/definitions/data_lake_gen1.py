"""Azure Data Lake Storage Gen1, retired by Azure; its dialect lives on in compatible servers."""

from __future__ import annotations

import urllib.parse
from typing import ClassVar

from datastores.definitions.definition import Definition
from datastores.errors import DefinitionRejected

RETIRED_SUFFIX = "azuredatalakestore.net"


class DataLakeGen1(Definition):
    """A Gen1 store: `store` is the account's name, or the whole address of a server."""

    kind: ClassVar[str] = "AzureDataLake"
    holds: ClassVar[str] = "files"

    store: str
    subscription_id: str | None = None
    resource_group: str | None = None

    def __post_init__(self) -> None:
        host = urllib.parse.urlsplit(self.url).hostname
        if not host or " " in self.store:
            raise DefinitionRejected(self.name, f'"{self.store}" is not a store name or address')

    @property
    def url(self) -> str:
        """Root of the WebHDFS dialect."""
        if "://" in self.store:
            return self.store.rstrip("/")
        store = self.store.removesuffix("." + RETIRED_SUFFIX)
        return f"https://{store}.{RETIRED_SUFFIX}"

    @property
    def is_retired_service(self) -> bool:
        """Whether this is the real service, which Azure switched off on 2024-02-29."""
        return self.url.endswith("." + RETIRED_SUFFIX)

    @property
    def display(self) -> str:
        return self.url
