"""`warm` and `refresh`: what a mount is to fetch ahead, and to forget."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mount.cli.options import absolute, json_option, print_json, state_option

if TYPE_CHECKING:
    from mount.daemon.client import Daemon

_EPILOG = """
\b
Examples:
  datastores-agent warm /data/train '**'
  datastores-agent warm /data/train 'shards/*.tar' labels.csv
  datastores-agent warm /data/train --list epoch-1.txt
"""
_LOOK_SECONDS = 0.3


@click.command("warm", epilog=_EPILOG)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("globs", nargs=-1, metavar="[GLOB]...")
@click.option("--list", "listing", type=click.File("r"), help="Names in a file, one per line.")
@click.option("--no-wait", is_flag=True, help="Begin, and do not wait for the end.")
@state_option
@json_option
def warm_command(
    folder: Path,
    globs: tuple[str, ...],
    listing: Any,
    no_wait: bool,
    state: Path | None,
    as_json: bool,
) -> int:
    """Fetch files of a mount into the cache ahead of its readers, in this order.

    Readers always come first. What is there already is skipped, so it can be run again.
    """
    names = [line.rstrip("\n") for line in listing] if listing else []
    patterns = (*globs, *(name for name in names if name))
    if not patterns:
        raise click.UsageError("say what to fetch: globs such as '**', or --list FILE")
    at = absolute(folder)
    daemon = _daemon(state)
    daemon.warm(at, patterns)
    if no_wait:
        return 0
    warming = _await(daemon, at, shows=not as_json and sys.stderr.isatty())
    if as_json:
        print_json(warming)
    else:
        _tell(warming)
    return 10 if warming["failed"] or warming["ending"] == "store fails" else 0


@click.command("refresh")
@click.argument("folder", type=click.Path(path_type=Path))
@state_option
def refresh_command(folder: Path, state: Path | None) -> None:
    """Let a mount believe nothing that its store said before now.

    What is new, changed or removed there is seen at once instead of within a minute.
    """
    _daemon(state).refresh(absolute(folder))


def _daemon(state: Path | None) -> Daemon:
    from mount.daemon.home import Home, default_home
    from mount.daemon.launch import revive_daemon

    return revive_daemon(Home.at((state or default_home()).absolute()))


def _await(daemon: Daemon, at: Path, *, shows: bool) -> dict[str, Any]:
    from mount.errors import MountError
    from mount.report import bytes_in_words

    while True:
        found = daemon.mount_at(at)
        if found is None or found["host"] is None:
            raise MountError(f'"{at}" was unmounted meanwhile; mount and warm it again')
        warming: dict[str, Any] = found["host"]["warming"]
        if shows:
            size = bytes_in_words(warming["fetched_bytes"])
            click.echo(f"\r{warming['fetched']:,} files, {size}  ", nl=False, err=True)
        if not warming["under_way"]:
            if shows:
                click.echo(err=True)
            return warming
        time.sleep(_LOOK_SECONDS)


def _tell(warming: dict[str, Any]) -> None:
    from mount.report import bytes_in_words

    click.echo(
        f"{warming['fetched']:,} files fetched ({bytes_in_words(warming['fetched_bytes'])}), "
        f"{warming['already_there']:,} were there, {warming['failed']:,} failed"
    )
    if warming["ending"] == "full":
        click.echo("the cache is full; a larger --cache-size holds more", err=True)
    for failure in warming["failures"][:20]:
        click.echo(f"  {failure}", err=True)
