"""Experiments, runs, their labels, metrics and files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of histories."""
    op.create_table(
        "experiments",
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "name", name="pk_experiments"),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name="fk_experiments_workspace_id",
            ondelete="CASCADE",
        ),
    )
    _make_runs()
    op.create_table(
        "run_labels",
        *_key(),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.Text),
        sa.PrimaryKeyConstraint("workspace_id", "run_id", "kind", "name", name="pk_run_labels"),
        _of_run("run_labels"),
    )
    op.create_index("ix_run_labels_name", "run_labels", ["workspace_id", "kind", "name"])
    op.create_table(
        "metrics",
        *_key(),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("logged", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "run_id", "number", name="pk_metrics"),
        _of_run("metrics"),
    )
    op.create_table(
        "run_files",
        *_key(),
        sa.Column("name", sa.String(1024), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("added", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datastore", sa.String(255)),
        sa.Column("place", sa.Text),
        sa.Column("path", sa.Text),
        sa.PrimaryKeyConstraint("workspace_id", "run_id", "name", name="pk_run_files"),
        _of_run("run_files"),
    )


def _make_runs() -> None:
    op.create_table(
        "runs",
        *_key(),
        sa.Column("experiment", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("parent", sa.String(255)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True)),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("display_name", sa.Text),
        sa.Column("description", sa.Text),
        sa.Column("compute_target", sa.String(255)),
        sa.Column("submitted_by", sa.Text),
        sa.Column("script", sa.Text),
        sa.Column("command", sa.JSON, nullable=False),
        sa.Column("folder", sa.Text),
        sa.Column("spec", sa.JSON),
        sa.Column("references", sa.JSON, nullable=False),
        sa.Column("report", sa.JSON),
        sa.Column("exit_code", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("events_offset", sa.BigInteger, nullable=False),
        sa.Column("metrics", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "run_id", name="pk_runs"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "experiment"],
            ["experiments.workspace_id", "experiments.name"],
            name="fk_runs_workspace_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_runs_created", "runs", ["workspace_id", "created"])
    op.create_index("ix_runs_experiment", "runs", ["workspace_id", "experiment", "created"])
    op.create_index("ix_runs_parent", "runs", ["workspace_id", "parent"])


def _key() -> tuple[sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=False),
    )


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", "run_id"],
        ["runs.workspace_id", "runs.run_id"],
        name=f"fk_{table}_workspace_id",
        ondelete="CASCADE",
    )
