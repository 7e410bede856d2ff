"""Places outside Azure: any URL that fsspec knows, and folders of this machine."""

from __future__ import annotations

import urllib.parse
from pathlib import PurePath
from typing import ClassVar

from datastores.definitions.definition import Definition
from datastores.errors import DefinitionRejected


class FsspecUrl(Definition):
    """A URL for fsspec; its storage options all live in the vault, since any may be a secret."""

    kind: ClassVar[str] = "Fsspec"
    holds: ClassVar[str] = "files"

    url: str

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if not parts.scheme:
            raise DefinitionRejected(
                self.name, f'"{self.url}" has no protocol; write for instance "s3://bucket/folder"'
            )
        if parts.password or parts.query:
            raise DefinitionRejected(
                self.name, "a URL cannot carry a credential; give it as a storage option"
            )

    @property
    def display(self) -> str:
        return self.url


class LocalFolder(Definition):
    """A folder of this machine, or of a file system that every node mounts at the same path."""

    kind: ClassVar[str] = "Local"
    holds: ClassVar[str] = "files"

    path: str

    def __post_init__(self) -> None:
        if not PurePath(self.path).is_absolute():
            raise DefinitionRejected(self.name, f'"{self.path}" is not an absolute path')

    @property
    def display(self) -> str:
        return self.path
