"""`datastores lease`: a place and the narrowest credential for it, for the agent of this machine."""

from __future__ import annotations

import json
import sys

import click

from datastores.cli.options import find_workspace, json_option, workspace_option
from datastores.cli.places import PlaceType, StorePlace, datastore_of

VERSION = 1
_HOUR_SECONDS = 3600.0


@click.command("lease", hidden=True)
@click.argument("place", type=PlaceType(local=False))
@click.option("--write", "is_writable", is_flag=True, help="Allow writing as well.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True, max=168),
    default=12.0,
    show_default=True,
    help="How long it is good for.",
)
@workspace_option
@json_option
def lease_command(
    place: StorePlace, is_writable: bool, hours: float, workspace_name: str | None, as_json: bool
) -> None:
    """Print the definition of PLACE and a lease for it, in clear, to the program that asked.

    The output is a secret: it goes into a pipe of "datastores-agent" and never to a terminal.
    """
    from datastores.contract.leases import LeaseSpec, lease_to_wire
    from datastores.credentials.leases import Access
    from datastores.definitions import to_wire

    if not as_json or sys.stdout.isatty():
        raise click.UsageError(
            "a lease is a secret and is not shown; datastores-agent asks for it with --json, "
            "through a pipe"
        )
    datastore = datastore_of(find_workspace(workspace_name), place)
    access = Access.READ_WRITE if is_writable else Access.READ
    given = datastore.lease(place.place, access, hours * _HOUR_SECONDS)
    spec = LeaseSpec(given.credential, given.expires_at, given.renew_at)
    click.echo(
        json.dumps(
            {
                "version": VERSION,
                "definition": to_wire(datastore.definition),
                "place": place.place,
                "lease": lease_to_wire(spec),
                "note": given.note,
            }
        )
    )
