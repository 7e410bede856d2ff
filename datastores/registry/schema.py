"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
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

# Histories: what `datastores.history` files under a workspace. They go with it.

experiments = Table(
    "experiments",
    metadata,
    Column(
        "workspace_id",
        String(36),
        ForeignKey("workspaces.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("name", String(255), primary_key=True),
    Column("created", Moment, nullable=False),
    # Text to text, for people.
    Column("tags", JSON, nullable=False),
    # How many runs there ever were: the newest run's number.
    Column("runs", Integer, nullable=False),
    # Since when it is put away; empty while it is active.
    Column("archived", Moment),
)

runs = Table(
    "runs",
    metadata,
    Column("workspace_id", String(36), primary_key=True),
    Column("run_id", String(255), primary_key=True),
    Column("experiment", String(255), nullable=False),
    # Counts the runs of the experiment from 1.
    Column("number", Integer, nullable=False),
    # The run this one was started from. No foreign key: a run may outlive its parent's record.
    Column("parent", String(255)),
    # Azure ML's words, of `datastores.history.status`.
    Column("status", String(32), nullable=False),
    Column("type", String(64), nullable=False),
    Column("created", Moment, nullable=False),
    Column("started", Moment),
    Column("ended", Moment),
    Column("display_name", Text),
    Column("description", Text),
    Column("compute_target", String(255)),
    Column("submitted_by", Text),
    # The entry script, and the command line with its references.
    Column("script", Text),
    Column("command", JSON, nullable=False),
    # The run's folder on its node.
    Column("folder", Text),
    # The job spec's wire form without leases, with masks in place of variables that look secret.
    Column("spec", JSON(none_as_null=True)),
    # What was read and written: a list of `UsedReference`.
    Column("references", JSON, nullable=False),
    # The agent's report.
    Column("report", JSON(none_as_null=True)),
    Column("exit_code", Integer),
    Column("error", Text),
    # Bytes of the run's events file that are in these tables.
    Column("events_offset", BigInteger, nullable=False),
    # How many metrics there are: the newest metric's number.
    Column("metrics", Integer, nullable=False),
    # The environment of the run's configuration, as its files spell it; masked like the spec.
    Column("environment", JSON(none_as_null=True)),
    ForeignKeyConstraint(
        ["workspace_id", "experiment"],
        ["experiments.workspace_id", "experiments.name"],
        ondelete="CASCADE",
    ),
    Index("ix_runs_created", "workspace_id", "created"),
    Index("ix_runs_experiment", "workspace_id", "experiment", "created"),
    Index("ix_runs_parent", "workspace_id", "parent"),
)

# Tags, which may change, and properties, which may not; a table, so that both databases find runs
# by them alike.
run_labels = Table(
    "run_labels",
    metadata,
    Column("workspace_id", String(36), primary_key=True),
    Column("run_id", String(255), primary_key=True),
    # "tag" or "property".
    Column("kind", String(8), primary_key=True),
    Column("name", String(255), primary_key=True),
    # A tag may be a word alone.
    Column("value", Text),
    ForeignKeyConstraint(
        ["workspace_id", "run_id"],
        ["runs.workspace_id", "runs.run_id"],
        ondelete="CASCADE",
    ),
    Index("ix_run_labels_name", "workspace_id", "kind", "name"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("workspace_id", String(36), primary_key=True),
    Column("run_id", String(255), primary_key=True),
    # Counts the metrics of the run from 1, in the order they arrived.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    # The shape: scalar, list, row, table, image, ...
    Column("kind", String(32), nullable=False),
    # A list of one value: SQLite takes JSON that is a number alone for a number, and makes 1.0 to 1.
    # What is not finite is an object, see `datastores.history.metrics`.
    Column("value", JSON, nullable=False),
    Column("step", BigInteger),
    Column("description", Text, nullable=False),
    Column("logged", Moment, nullable=False),
    ForeignKeyConstraint(
        ["workspace_id", "run_id"],
        ["runs.workspace_id", "runs.run_id"],
        ondelete="CASCADE",
    ),
)

run_files = Table(
    "run_files",
    metadata,
    Column("workspace_id", String(36), primary_key=True),
    Column("run_id", String(255), primary_key=True),
    # Its place in the run, such as `outputs/model.pkl`; as long as the longest key of a store.
    Column("name", String(1024), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("added", Moment, nullable=False),
    # Where it is: in a datastore, or only on the node so far.
    Column("datastore", String(255)),
    Column("place", Text),
    Column("path", Text),
    ForeignKeyConstraint(
        ["workspace_id", "run_id"],
        ["runs.workspace_id", "runs.run_id"],
        ondelete="CASCADE",
    ),
)

# Models that runs made: names for files, which are where the run left them. No foreign key to the
# run: a model may outlive its record.
models = Table(
    "models",
    metadata,
    Column(
        "workspace_id",
        String(36),
        ForeignKey("workspaces.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("name", String(255), primary_key=True),
    # Counts the models of the name from 1.
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("created", Moment, nullable=False),
    Column("run_id", String(255), nullable=False),
    # Its place among the run's files, and where that is.
    Column("path", String(1024), nullable=False),
    Column("datastore", String(255), nullable=False),
    Column("place", Text, nullable=False),
    Column("description", Text),
    Column("framework", Text),
    Column("framework_version", Text),
    # Text to text; tags may change and properties may not.
    Column("tags", JSON, nullable=False),
    Column("properties", JSON, nullable=False),
)
