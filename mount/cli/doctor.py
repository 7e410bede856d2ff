"""`doctor`: what this node has and lacks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mount.cli.options import folder_option


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@folder_option
def doctor_command(folder: Path | None, as_json: bool) -> int:
    """Look at what this node has, and say what is missing and what that costs."""
    from mount.agent.doctor import examine

    findings = examine(folder or Path.cwd())
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
    return 0
