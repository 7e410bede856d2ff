"""`status`: what this node has mounted, and how that goes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mount.cli.options import absolute, json_option, print_json, state_option

if TYPE_CHECKING:
    from mount.daemon.home import Home

_EPILOG = """
\b
Examples:
  datastores-agent status
  datastores-agent status /data/train --json
"""


@click.command("status", epilog=_EPILOG)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@state_option
@json_option
def status_command(folder: Path | None, state: Path | None, as_json: bool) -> None:
    """Show the mounts of this node's daemon, or the one at FOLDER.

    For each: how much of it came from the cache, what was fetched, how long callers waited, what is
    not stored yet, and what would help.
    """
    from mount.daemon.home import Home, default_home
    from mount.errors import MountError

    found = _status(Home.at((state or default_home()).absolute()))
    mounts = found["mounts"]
    if folder is not None:
        at = str(absolute(folder))
        mounts = [one for one in mounts if at in one["at"]]
        if not mounts:
            raise MountError(f'nothing is mounted at "{at}" by the daemon; see all with "status"')
    mounts = [{**one, "report": _report(one)} for one in mounts]
    if as_json:
        print_json({"daemon": found["daemon"], "mounts": mounts})
        return
    if not mounts:
        click.echo('nothing is mounted; see "datastores-agent mount --help"')
    for one in mounts:
        for line in _lines(one):
            click.echo(line)


def _status(home: Home) -> dict[str, Any]:
    from mount.daemon.launch import revive_daemon
    from mount.errors import DaemonUnreachable

    try:
        return revive_daemon(home).status()
    except DaemonUnreachable:
        if home.socket_path.exists() and home.is_taken:
            raise
        # It comes with the first mount, and goes after the last.
        return {"daemon": None, "mounts": []}


def _report(one: dict[str, Any]) -> dict[str, Any] | None:
    from mount.report import summarise

    host = one["host"]
    return summarise(_counters(host)).as_dict() if host else None


def _counters(host: dict[str, Any]) -> dict[str, Any]:
    cache = host["cache"]
    return {
        **host["counters"],
        "restarts": host["restarts"],
        "passthrough": host["passthrough"],
        "evictions": cache.get("evictions", 0),
        "cached_bytes": cache.get("bytes", 0),
    }


def _lines(one: dict[str, Any]) -> Iterator[str]:
    from mount.report import bytes_in_words, in_words, summarise

    how = "read-only" if one["read_only"] else "writable"
    places = ", ".join(one["at"]) or "nowhere yet"
    yield click.style(places, bold=True) + f"  {one['source']}  {how}, {one['phase']}"
    host = one["host"]
    if host is None:
        yield "  its host does not answer; look at its log in the daemon's folder"
        return
    for line in in_words(summarise(_counters(host))):
        yield f"  {line}"
    if host["lease_ends"]:
        ends = datetime.fromtimestamp(host["lease_ends"], UTC).isoformat(timespec="seconds")
        yield f"  credential good until {ends}"
    trouble = host["lease_trouble"] or one["renewal_trouble"]
    if trouble:
        yield f"  credential trouble: {trouble}"
    for left in host["left"]:
        yield f"  not in its store: {left}"
    warming = host["warming"]
    if warming.get("under_way"):
        yield f"  warming: {warming['fetched']:,} files, {bytes_in_words(warming['fetched_bytes'])}"
