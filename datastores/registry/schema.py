"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
)


class Moment(TypeDecorator[datetime]):
    """A point in time; SQLite forgets the zone, so it is always UTC there."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        if value is None:
            return None
        moment: datetime = value
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

workspaces = Table(
    "workspaces",
    metadata,
    # A random UUID. Secrets are bound to it, so a workspace made anew cannot read its namesake's.
    Column("id", String(36), primary_key=True),
    # What people and configuration files call it.
    Column("name", String(255), nullable=False, unique=True),
    # Azure's coordinates; plain text for workspaces that are in no subscription.
    Column("subscription_id", String(255), nullable=False),
    Column("resource_group", String(255), nullable=False),
    Column("created", Moment, nullable=False),
    # Text to text, for people.
    Column("tags", JSON, nullable=False),
    # The datastore that is meant when none is named. No foreign key: the two tables would need
    # each other before they exist. The registry keeps it true under its writer's lock.
    Column("default_datastore", String(255)),
    # Choices of this workspace, such as `vault_key`: where the key of its secrets is kept.
    Column("settings", JSON, nullable=False),
)

datastores = Table(
    "datastores",
    metadata,
    Column(
        "workspace_id",
        String(36),
        ForeignKey("workspaces.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("name", String(255), primary_key=True),
    # The definition's kind, apart from its JSON so that a listing by kind needs no parsing.
    Column("kind", String(64), nullable=False),
    # `datastores.definitions.to_wire`. JSON and not JSONB: secrets are bound to this text's values,
    # and a migration must never rewrite it (readers accept older forms instead).
    Column("definition", JSON, nullable=False),
    # The first half of `datastores.credentials.kinds.seal`: kind, tenant, user; never a secret.
    Column("credential", JSON, nullable=False),
    # The first registration under this name, and the latest one.
    Column("created", Moment, nullable=False),
    Column("changed", Moment, nullable=False),
    # Counts registrations under this name, from 1.
    Column("revision", Integer, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("workspace_id", String(36), primary_key=True),
    # The datastore that the secret opens; it cannot outlive it.
    Column("owner", String(255), primary_key=True),
    # The credential's field that holds it, such as `key` or `client_secret`.
    Column("field", String(64), primary_key=True),
    # Which key of the workspace's key source opens it: a fingerprint, not the key.
    Column("key_id", String(16), nullable=False),
    # 96 random bits for AES-GCM, new at each sealing.
    Column("nonce", LargeBinary, nullable=False),
    # The text in UTF-8, sealed, with the 128-bit tag at its end.
    Column("ciphertext", LargeBinary, nullable=False),
    ForeignKeyConstraint(
        ["workspace_id", "owner"],
        ["datastores.workspace_id", "datastores.name"],
        ondelete="CASCADE",
    ),
)
