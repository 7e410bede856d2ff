"""`datastores ws`: workspaces."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import (
    SecretSource,
    ask,
    complete_workspace,
    find_workspace,
    json_option,
    print_json,
    workspace_option,
)
from datastores.cli.tables import iso_time, print_facts, print_table
from datastores.secret import Secret
from datastores.text import printable

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace


_EXAMPLES = """
\b
Examples:
  datastores ws create demo
  datastores ws create demo --folder ./store
  datastores ws create team --registry postgresql://user@host/database
"""


@click.group("ws")
def ws_command() -> None:
    """Make, find and remove workspaces."""


@ws_command.command("create", epilog=_EXAMPLES)
@click.argument("name")
@click.option("--folder", type=click.Path(file_okay=False), help="Folder for its records and data.")
@click.option("--registry", metavar="URL", help="PostgreSQL database shared by many machines.")
@click.option(
    "--vault-key",
    metavar="SOURCE",
    help="Where the key of its secrets is: file:PATH, env:VARIABLE, keyring:SERVICE or "
    "keyvault:https://VAULT.vault.azure.net/secrets/NAME.",
)
@click.option("--storage-account", metavar="ACCOUNT", help="Azure account for its two stores.")
@click.option("--storage-endpoint", metavar="SUFFIX|URL", help="Where that account answers.")
@click.option("--storage-key", type=SecretSource(), help="Key of that account.")
@click.option("--subscription", metavar="ID", help="Azure subscription to note in its address.")
@click.option("--resource-group", metavar="NAME", help="Azure resource group to note.")
@click.option("--exist-ok", is_flag=True, help="Use it if it is there already.")
@json_option
def create(
    name: str,
    folder: str | None,
    registry: str | None,
    vault_key: str | None,
    storage_account: str | None,
    storage_endpoint: str | None,
    storage_key: Secret | None,
    subscription: str | None,
    resource_group: str | None,
    exist_ok: bool,
    as_json: bool,
) -> None:
    """Make a workspace; this folder then belongs to it."""
    from datastores.catalog.workspace import Workspace

    workspace = Workspace.create(
        name,
        subscription_id=subscription,
        resource_group=resource_group,
        storage_account=storage_account,
        exist_ok=exist_ok,
        show_output=not as_json,
        folder=folder,
        registry=registry,
        vault_key=vault_key,
        storage_endpoint=storage_endpoint,
        storage_key=storage_key,
    )
    if as_json:
        print_json(_facts(workspace))


@ws_command.command("list")
@click.option("--registry", metavar="URL", help="A database instead of this user's folder.")
@json_option
def list_(registry: str | None, as_json: bool) -> None:
    """Show the workspaces of this user, or of a registry."""
    from datastores.catalog.workspace import Workspace

    found = [
        {
            "name": workspace.name,
            "subscription_id": workspace.subscription_id,
            "resource_group": workspace.resource_group,
            "registry": workspace.registry_place,
        }
        for same in Workspace.list(registry=registry).values()
        for workspace in same
    ]
    if as_json:
        print_json(found)
    else:
        print_table(found, empty='no workspace yet; make one with "datastores ws create NAME"')


@ws_command.command("show")
@workspace_option
@json_option
def show(workspace_name: str | None, as_json: bool) -> None:
    """Show what is known about the workspace in use."""
    facts = _facts(find_workspace(workspace_name))
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


def _facts(workspace: Workspace) -> dict[str, Any]:
    """What is known of a workspace, under the words of the other commands and not Azure ML's."""
    record = workspace.record()
    return {
        "name": workspace.name,
        "subscription_id": workspace.subscription_id,
        "resource_group": workspace.resource_group,
        "registry": workspace.registry_place,
        "id": record.id,
        "location": record.settings.get("location"),
        "tags": dict(record.tags),
        "created": iso_time(record.created),
        "storage_account": record.settings.get("storage_account"),
        "vault_key": record.settings.get("vault_key"),
        "default_datastore": record.default_datastore,
        "datastores": workspace.datastore_names(),
    }


@ws_command.command("delete")
@click.argument("name", shell_complete=complete_workspace)
@click.option("--data", is_flag=True, help="Also delete the folders of its two embedded stores.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(name: str, data: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Forget a workspace with its datastores, secrets and runs.

    Its data stays unless --data is given, and so do results of runs that are in no store.
    """
    from datastores.catalog.workspace import Workspace

    workspace = Workspace.get(name)
    registered = sorted(workspace.datastores)
    removal = workspace.plan_deletion(delete_dependent_resources=data)
    goes, stays = [str(one) for one in removal.goes], [str(one) for one in removal.stays]
    if not as_json:
        click.echo(f'workspace "{name}" forgets: {", ".join(registered)}')
        click.echo("their data goes too" if data else "their data stays")
        for words, paths in (("goes", goes), ("stays", stays)):
            for path in paths:
                click.echo(f"  {words}  {printable(path)}")
    if not dry_run:
        if not yes:
            ask("delete it?")
        workspace.delete(delete_dependent_resources=data)
    if as_json:
        facts = {"deleted": not dry_run, "name": name, "datastores": registered, "data": data}
        print_json({**facts, "goes": goes, "stays": stays})


@ws_command.command("rotate-key")
@workspace_option
@json_option
def rotate_key(workspace_name: str | None, as_json: bool) -> None:
    """Encrypt all secrets of the workspace under a new key."""
    rotation = find_workspace(workspace_name).rotate_vault_key()
    if as_json:
        print_json(asdict(rotation))
    else:
        click.echo(f"{rotation.resealed} secrets are encrypted under key {rotation.key_id}")
        if rotation.advice:
            click.echo(rotation.advice)
