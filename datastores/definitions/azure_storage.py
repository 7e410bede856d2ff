"""Places in an Azure storage account."""

from __future__ import annotations

import re
from typing import ClassVar

from datastores.definitions.definition import Definition
from datastores.endpoints import AccountUrl, account_url
from datastores.errors import DefinitionRejected

# Only what could change the meaning of an address is refused here; the rest the service judges,
# since emulators and compatible services are laxer than Azure.
_ACCOUNT = re.compile(r"[a-z0-9-]{1,63}\Z")
_CONTAINER = re.compile(r"[a-z0-9$][a-z0-9_-]{0,62}\Z")


class _AccountPlace(Definition):
    """A container-like thing in an account; subclasses say which service keeps it."""

    service: ClassVar[str]
    noun: ClassVar[str]
    holds: ClassVar[str] = "files"

    container: str
    account: str
    endpoint: str | None = None
    protocol: str | None = None
    subscription_id: str | None = None
    resource_group: str | None = None

    def __post_init__(self) -> None:
        container, account = self.container, self.account
        if not _CONTAINER.match(container):
            raise DefinitionRejected(
                self.name,
                f'"{container}" cannot be a {self.noun}: use up to 63 of a-z, 0-9 and hyphens',
            )
        if not _ACCOUNT.match(account):
            raise DefinitionRejected(
                self.name, f'"{account}" cannot be a storage account: use up to 24 of a-z and 0-9'
            )
        _ = self.account_url  # a bad endpoint or protocol is refused here

    @property
    def account_url(self) -> AccountUrl:
        """Where the account's service answers."""
        return account_url(self.name, self.account, self.service, self.endpoint, self.protocol)

    @property
    def display(self) -> str:
        return f"{self.account_url.url}/{self.container}"


class BlobContainer(_AccountPlace):
    """A container of blobs."""

    kind: ClassVar[str] = "AzureBlob"
    service: ClassVar[str] = "blob"
    noun: ClassVar[str] = "container"

    blob_cache_timeout_seconds: int | None = None


class DataLakeGen2(_AccountPlace):
    """A file system of an account with hierarchical names, reached through its blob endpoint."""

    kind: ClassVar[str] = "AzureDataLakeGen2"
    service: ClassVar[str] = "blob"
    noun: ClassVar[str] = "filesystem"


class FileShare(_AccountPlace):
    """An SMB/REST file share."""

    kind: ClassVar[str] = "AzureFile"
    service: ClassVar[str] = "file"
    noun: ClassVar[str] = "file share"
