"""`datastores models`: what runs registered, and how it comes here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import (
    completed_from,
    find_workspace,
    json_option,
    print_json,
    workspace_option,
)
from datastores.cli.tables import iso_time, print_table

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.model_records import ModelRecord, ModelRegistry


@click.group("models")
def models_command() -> None:
    """Look at models that runs registered, and bring them here."""


@models_command.command("list")
@click.option("--name", metavar="NAME", help="Only versions of this model.")
@click.option("--run", "run_id", metavar="RUN", help="Only models of this run.")
@workspace_option
@json_option
def list_command(
    name: str | None, run_id: str | None, workspace_name: str | None, as_json: bool
) -> None:
    """Show models, the newest version of each first."""
    found = [
        one
        for one in _registry(find_workspace(workspace_name)).list()
        if name in (None, one.name) and run_id in (None, one.run_id)
    ]
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        print_table(
            [_line(one) for one in found],
            empty='no models; a script makes one with run.register_model("NAME", "outputs/FILE")',
        )


@models_command.command("download")
@click.argument(
    "model",
    metavar="NAME[:VERSION]",
    shell_complete=completed_from(
        lambda workspace: (f"{one.name}:{one.version}" for one in _registry(workspace).list())
    ),
)
@click.argument("folder", default=".", type=click.Path(file_okay=False))
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@workspace_option
@json_option
def download_command(
    model: str, folder: str, overwrite: bool, workspace_name: str | None, as_json: bool
) -> None:
    """Bring a model's file or folder here, by default its newest version."""
    from datastores.history.model import Model

    name, _, number = model.rpartition(":")
    workspace = find_workspace(workspace_name)
    found = Model(workspace, id=model) if name and number else Model(workspace, model)
    path = found.download(Path(folder), exist_ok=overwrite)
    if as_json:
        print_json({"model": found.name, "version": found.version, "path": path})
    else:
        click.echo(path)


def _registry(workspace: Workspace) -> ModelRegistry:
    from datastores.history.model_records import ModelRegistry

    return ModelRegistry(workspace.registry, workspace.name)


def _line(record: ModelRecord) -> dict[str, Any]:
    return {
        "model": record.name,
        "version": record.version,
        "run": record.run_id,
        "place": f"{record.datastore}:{record.place}",
        "created": iso_time(record.created),
        "tags": dict(record.tags),
    }
