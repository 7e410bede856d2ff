"""`doctor`: what this node has and lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mount.cli.options import folder_option

if TYPE_CHECKING:
    from mount.agent.doctor import Finding

_EPILOG = """
\b
Examples:
  datastores-agent doctor
  datastores-agent doctor images results:runs
"""
_NO_LEASE = "jobs cannot be given a credential for it"


@click.command("doctor", epilog=_EPILOG)
@click.argument("sources", nargs=-1, metavar="[DATASTORE[:PATH]]...")
@click.option("-w", "--workspace", metavar="NAME", help="Workspace, if not that of this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@folder_option
def doctor_command(
    sources: tuple[str, ...], workspace: str | None, folder: Path | None, as_json: bool
) -> int:
    """Look at what this node has, and say what is missing and what that costs.

    Datastores that are named are opened with the credential that a job would have; the exit code
    is 1 if one does not answer.
    """
    from mount.agent.doctor import examine

    visits = [_visited(source, workspace) for source in sources]
    findings = [*examine(folder or Path.cwd()), *visits]
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings]))
    else:
        for finding in findings:
            mark = (
                click.style("ok  ", fg="green")
                if finding.is_good
                else click.style("miss", fg="yellow")
            )
            click.echo(f"{mark} {finding.what}: {finding.found}")
            if finding.cost:
                click.echo(f"     {finding.cost}")
    return int(not all(visit.is_good for visit in visits))


def _visited(text: str, workspace: str | None) -> Finding:
    from datastores.errors import DatastoresError
    from mount.agent.doctor import Finding, visit
    from mount.cli.sources import find_source

    try:
        source = find_source(text, is_writable=False, workspace=workspace)
    except DatastoresError as error:
        return Finding(f"datastore {text}", str(error), is_good=False, cost=_NO_LEASE)
    return visit(source.definition, source.place, source.lease)
