"""The store that stands for the real service, which no longer exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

from datastores.errors import Unsupported
from datastores.storage.contract import Features, ObjectInfo, ObjectStream, Page, Presence

if TYPE_CHECKING:
    from datastores.storage.contract import Body

REMEDY = (
    "Azure Data Lake Storage Gen1 was retired on 29 February 2024; "
    "register the migrated data with register_azure_data_lake_gen2"
)


class RetiredStore:
    """Every use is `Unsupported`, without a request; only closing works."""

    staging = None
    renaming = None
    copying = None
    folders = None
    features = Features(real_folders=True, keeps_metadata=False)

    def __init__(self, label: str, url: str) -> None:
        self._label, self._url = label, url

    @property
    def label(self) -> str:
        return self._label

    @property
    def identity(self) -> str:
        return "azure-gen1://" + self._url.partition("://")[2]

    def stat(self, key: str) -> ObjectInfo:
        self._refuse(key)

    def read(
        self,
        key: str,
        *,
        start: int = 0,  # noqa: ARG002 - the contract's names
        length: int | None = None,  # noqa: ARG002 - the contract's names
        version: str | None = None,  # noqa: ARG002 - the contract's names
    ) -> ObjectStream:
        self._refuse(key)

    def write(
        self,
        key: str,
        body: Body,  # noqa: ARG002 - the contract's names
        *,
        only_if: str | Presence | None = None,  # noqa: ARG002 - the contract's names
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002 - the contract's names
    ) -> ObjectInfo:
        self._refuse(key)

    def delete(self, key: str) -> None:
        self._refuse(key)

    def list(self, prefix: str = "") -> Iterator[Page]:
        self._refuse(prefix or None)

    def list_folder(self, place: str = "") -> Iterator[Page]:
        self._refuse(place or None)

    def check(self, *, create: bool = False) -> None:  # noqa: ARG002 - the contract's names
        self._refuse(None)

    def close(self) -> None:
        """Nothing was opened."""

    def _refuse(self, key: str | None) -> NoReturn:
        raise Unsupported(self._label, key, REMEDY)
