"""`list`, `show`, `default`, `check`, `unregister`: what the workspace has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import (
    complete_datastore,
    find_workspace,
    json_option,
    print_json,
    workspace_option,
)
from datastores.cli.tables import print_facts, print_table

if TYPE_CHECKING:
    from datastores.catalog.abstract import AbstractDatastore


@click.command("list")
@workspace_option
@json_option
def list_command(workspace_name: str | None, as_json: bool) -> None:
    """Show the datastores of the workspace."""
    workspace = find_workspace(workspace_name)
    default = workspace.default_datastore_name
    rows = [
        {
            "name": name,
            "datastore_type": datastore.datastore_type,
            "place": datastore.definition.display,
            "credential_type": datastore.credential_type,
            "is_default": name == default,
        }
        for name, datastore in workspace.datastores.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, empty='nothing is registered; see "datastores register --help"')


@click.command("show")
@click.argument("name", shell_complete=complete_datastore)
@workspace_option
@json_option
def show_command(name: str, workspace_name: str | None, as_json: bool) -> None:
    """Show one datastore; never its secret."""
    facts = facts_of(find_workspace(workspace_name).get_datastore(name))
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


def facts_of(datastore: AbstractDatastore) -> dict[str, Any]:
    """What `show` shows of a datastore, and `register` of the one it made."""
    return {
        **datastore.describe(),
        "credential_type": datastore.credential_type,
        "is_default": datastore.is_default,
    }


@click.command("default")
@click.argument("name", required=False, shell_complete=complete_datastore)
@workspace_option
@json_option
def default_command(name: str | None, workspace_name: str | None, as_json: bool) -> None:
    """Show the default datastore, or make NAME the default."""
    workspace = find_workspace(workspace_name)
    if name:
        workspace.set_default_datastore(name)
    current = workspace.default_datastore_name
    if as_json:
        print_json({"default_datastore": current})
    else:
        click.echo(current or "none")


@click.command("check")
@click.argument("name", shell_complete=complete_datastore)
@workspace_option
@json_option
def check_command(name: str, workspace_name: str | None, as_json: bool) -> None:
    """Reach a datastore once and say what is wrong, if anything is."""
    from datastores.catalog.registration import validate

    datastore = find_workspace(workspace_name).get_datastore(name)
    validate(*datastore.unlock())
    if as_json:
        print_json({"name": datastore.name, "place": datastore.definition.display, "ok": True})
    else:
        click.echo(f'"{datastore.name}" answers at {datastore.definition.display}')


@click.command("unregister")
@click.argument("name", shell_complete=complete_datastore)
@workspace_option
@json_option
def unregister_command(name: str, workspace_name: str | None, as_json: bool) -> None:
    """Forget a datastore and its secret; the data stays where it is."""
    datastore = find_workspace(workspace_name).get_datastore(name)
    datastore.unregister()
    if as_json:
        print_json({"name": datastore.name, "unregistered": True})
    else:
        click.echo(f'"{datastore.name}" is forgotten; its data stays where it is')
