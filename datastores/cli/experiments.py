"""`datastores experiments`: what runs are filed under; put away, taken back, forgotten."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import (
    ask,
    completed_from,
    find_workspace,
    json_option,
    print_json,
    workspace_option,
)
from datastores.cli.tables import counted, iso_time, print_table, size_text
from datastores.text import printable

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.history.records import ExperimentRecord, ExperimentRemoval
    from datastores.history.run_history import RunHistory


_name_argument = click.argument(
    "name",
    shell_complete=completed_from(
        lambda workspace: (str(one.name) for one in _history(workspace).experiments())
    ),
)


@click.group("experiments")
def experiments_command() -> None:
    """Look at experiments, put them away, forget them."""


@experiments_command.command("list")
@click.option("--archived", is_flag=True, help="Only those that are put away.")
@click.option("--all", "with_archived", is_flag=True, help="Those that are put away as well.")
@workspace_option
@json_option
def list_command(
    archived: bool, with_archived: bool, workspace_name: str | None, as_json: bool
) -> None:
    """Show experiments and how many runs they had."""
    found = [
        one
        for one in _history(find_workspace(workspace_name)).experiments()
        if with_archived or (one.archived is not None) == archived
    ]
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        print_table(
            [_line(one) for one in found],
            empty="no experiments; start a run with: datastores run train.py",
        )


@experiments_command.command("archive")
@_name_argument
@workspace_option
@json_option
def archive_command(name: str, workspace_name: str | None, as_json: bool) -> None:
    """Put an experiment away: listings leave it out, and its runs stay.

    Its next run takes it back.
    """
    _tell(_history(find_workspace(workspace_name)).archive_experiment(name), as_json=as_json)


@experiments_command.command("reactivate")
@_name_argument
@workspace_option
@json_option
def reactivate_command(name: str, workspace_name: str | None, as_json: bool) -> None:
    """Take an experiment back that was put away."""
    _tell(
        _history(find_workspace(workspace_name)).archive_experiment(name, archived=False),
        as_json=as_json,
    )


@experiments_command.command("delete")
@_name_argument
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@workspace_option
@json_option
def delete_command(
    name: str, dry_run: bool, yes: bool, workspace_name: str | None, as_json: bool
) -> None:
    """Forget an experiment with its runs, their metrics and tags.

    Files of its runs stay in their stores and folders.
    """
    history = _history(find_workspace(workspace_name))
    removal = history.plan_removal(name)
    if not as_json:
        _show(removal)
    if not dry_run:
        if not yes:
            ask("delete it?")
        # Runs may have been added since; what is told is what was done.
        removal = history.remove_experiment(name)
    if as_json:
        print_json({"deleted": not dry_run, **asdict(removal)})


def _history(workspace: Workspace) -> RunHistory:
    from datastores.history.run_history import RunHistory

    return RunHistory(workspace.registry, workspace.name)


def _line(record: ExperimentRecord) -> dict[str, Any]:
    return {
        "experiment": record.name,
        "runs": record.runs,
        "created": iso_time(record.created),
        "archived": iso_time(record.archived) if record.archived else None,
        "tags": dict(record.tags),
    }


def _tell(record: ExperimentRecord, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(record))
    elif record.archived is None:
        click.echo(f"{record.name}: active")
    else:
        click.echo(f"{record.name}: archived since {iso_time(record.archived)}")


def _show(removal: ExperimentRemoval) -> None:
    runs, files = counted(len(removal.runs), "run"), counted(removal.files, "file")
    click.echo(f'experiment "{removal.name}" goes with {runs}; their files stay:')
    click.echo(f"{files} ({size_text(removal.bytes)}) in stores")
    for place in (*removal.places, *removal.folders):
        click.echo(f"  stays  {printable(place)}")
