"""`recover`: bytes that a crash or a dead store left on this node."""

from __future__ import annotations

from pathlib import Path

import click

from mount.cli.options import json_option, print_json

_EPILOG = """
\b
Examples:
  datastores-agent recover --dry-run
  datastores-agent recover
  datastores-agent recover ~/.cache/datastores/spool/images-1f2e3d4c5b6a7988
"""


@click.command("recover", epilog=_EPILOG)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--dry-run", is_flag=True, help="List, and send nothing.")
@json_option
def recover_command(folder: Path | None, dry_run: bool, as_json: bool) -> int:
    """Send what was written to mounts and did not reach its store.

    FOLDER is one spool; without it all of this user's are looked at. Files of mounts that are in
    use are theirs and are left out. What somebody else changed in the store meanwhile stays here
    and is named.
    """
    from mount.daemon.spools import send_unsent, spools_below, unsent
    from mount.places import spool_folder

    spools = [folder.absolute()] if folder else spools_below(spool_folder())
    rows = [
        one.as_dict()
        for spool in spools
        for one in (unsent(spool) if dry_run else send_unsent(spool))
    ]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("nothing is left to send")
    for row in [] if as_json else rows:
        where = row["key"] or "never closed"
        click.echo(f"{row['outcome']:10} {where}  ({row['size']:,} bytes in {row['path']})")
        if row["reason"]:
            click.echo(f"           {row['reason']}")
    return 23 if any(row["outcome"] in {"failed", "conflict"} for row in rows) else 0
