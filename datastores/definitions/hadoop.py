"""File systems of Databricks and Hadoop clusters."""

from __future__ import annotations

from typing import ClassVar

from datastores.definitions.definition import Definition
from datastores.errors import DefinitionRejected


class Dbfs(Definition):
    """The Databricks file system, which exists only on a Databricks node, at `/dbfs`."""

    kind: ClassVar[str] = "DBFS"
    holds: ClassVar[str] = "files"

    @property
    def display(self) -> str:
        return "dbfs:/"


class Hdfs(Definition):
    """A Hadoop file system behind Kerberos."""

    kind: ClassVar[str] = "Hdfs"
    holds: ClassVar[str] = "files"

    protocol: str
    namenode_address: str
    server_certificate: str | None
    kerberos_realm: str
    kerberos_kdc_address: str
    kerberos_principal: str

    def __post_init__(self) -> None:
        if self.protocol not in ("http", "https"):
            raise DefinitionRejected(
                self.name, f'protocol "{self.protocol}" is unknown; use "https" or "http"'
            )
        for field in ("namenode_address", "kerberos_realm", "kerberos_principal"):
            if not getattr(self, field):
                raise DefinitionRejected(self.name, f'"{field}" is required')

    @property
    def display(self) -> str:
        return f"{self.protocol}://{self.namenode_address}"
