"""Archived experiments, environments of runs, and models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """What is there is active, and its environments are unknown."""
    op.add_column("experiments", sa.Column("archived", sa.DateTime(timezone=True)))
    op.add_column("runs", sa.Column("environment", sa.JSON))
    op.create_table(
        "models",
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
        sa.Column("path", sa.String(1024), nullable=False),
        sa.Column("datastore", sa.String(255), nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("framework", sa.Text),
        sa.Column("framework_version", sa.Text),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("properties", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "name", "version", name="pk_models"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_models_workspace_id", ondelete="CASCADE"
        ),
    )
