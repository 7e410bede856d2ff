"""Databases, which hold rows and not files."""

from __future__ import annotations

from typing import ClassVar

from datastores.definitions.definition import Definition
from datastores.errors import DefinitionRejected


class _Database(Definition):
    """A database on a server; `server` is a short name to which the service's suffix is added,
    a whole host name, or `host:port`.
    """

    holds: ClassVar[str] = "rows"
    suffix: ClassVar[str]
    default_port: ClassVar[int]

    server: str
    database: str
    port: int | None = None
    endpoint: str | None = None
    enforce_ssl: bool = True

    def __post_init__(self) -> None:
        for field in ("server", "database"):
            if not getattr(self, field):
                raise DefinitionRejected(self.name, f'"{field}_name" is required')
        if self.port is not None and not 0 < self.port < 65536:
            raise DefinitionRejected(self.name, f"port {self.port} is not between 1 and 65535")

    @property
    def host(self) -> str:
        """The host name to connect to."""
        host = self.server.partition(":")[0]
        if "." in host or host == "localhost":
            return host
        return f"{host}.{self.endpoint or self.suffix}"

    @property
    def tcp_port(self) -> int:
        """The port to connect to: given, in the server's name, or the kind's own."""
        in_server = self.server.partition(":")[2]
        return self.port or (int(in_server) if in_server.isdigit() else self.default_port)

    @property
    def display(self) -> str:
        return f"{self.host}:{self.tcp_port}/{self.database}"


class SqlDatabase(_Database):
    """An Azure SQL or SQL Server database."""

    kind: ClassVar[str] = "AzureSqlDatabase"
    suffix: ClassVar[str] = "database.windows.net"
    default_port: ClassVar[int] = 1433

    subscription_id: str | None = None
    resource_group: str | None = None


class PostgreSql(_Database):
    """A PostgreSQL database."""

    kind: ClassVar[str] = "AzurePostgreSql"
    suffix: ClassVar[str] = "postgres.database.azure.com"
    default_port: ClassVar[int] = 5432


class MySql(_Database):
    """A MySQL database."""

    kind: ClassVar[str] = "AzureMySql"
    suffix: ClassVar[str] = "mysql.database.azure.com"
    default_port: ClassVar[int] = 3306
