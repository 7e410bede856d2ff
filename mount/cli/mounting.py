"""`mount` and `unmount`: datastores at paths, by hand."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mount.cli.options import (
    Permissions,
    Size,
    absolute,
    cache_option,
    json_option,
    print_json,
    state_option,
)

if TYPE_CHECKING:
    from mount.cli.sources import Source
    from mount.daemon.client import Daemon, Detached
    from mount.host.order import MountOrder

_MOUNT_EPILOG = """
\b
Examples:
  datastores-agent mount images /data/images --read-only
  datastores-agent mount images:train /data/train --read-only --warm '**'
  datastores-agent mount results:runs/7 /data/out --cache-size 50GiB
  datastores-agent mount file:///mnt/share /data/share --foreground

\b
The mount stays until "datastores-agent unmount", also when this shell ends; leases are renewed.
Two mounts of one place with the same view share one connection and fetch each object once.
"""
_UNMOUNT_EPILOG = """
\b
Examples:
  datastores-agent unmount /data/train
  datastores-agent unmount /data/train --force
"""
WAIT_SECONDS = 60.0


@click.command("mount", epilog=_MOUNT_EPILOG)
@click.argument("source", metavar="DATASTORE[:PATH]")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--read-only", is_flag=True, help="Refuse writes, and lease no right to write.")
@click.option("--cache-size", type=Size(), help="What the cache may hold; half its disk otherwise.")
@cache_option
@click.option("--warm", multiple=True, metavar="GLOB", help="Fetch these at once, in this order.")
@click.option("--allow-other", is_flag=True, help="Let other users of this machine see it.")
@click.option("--umask", type=Permissions(), default="0", help="Permission bits nobody gets.")
@click.option("--foreground", is_flag=True, help="Stay, and unmount at the end of this command.")
@click.option("-w", "--workspace", metavar="NAME", help="Workspace, if not that of this folder.")
@state_option
@json_option
def mount_command(
    source: str,
    folder: Path,
    read_only: bool,
    cache_size: int | None,
    cache_at: Path | None,
    warm: tuple[str, ...],
    allow_other: bool,
    umask: int,
    foreground: bool,
    workspace: str | None,
    state: Path | None,
    as_json: bool,
) -> int:
    """Show a datastore, or a folder in it, as the files of FOLDER.

    Files are fetched when they are read and kept in this node's cache; what is written is in the
    store when the file is closed.
    """
    from mount.cli.sources import find_source
    from mount.daemon.home import Home, default_home
    from mount.daemon.launch import ensure_daemon
    from mount.daemon.orders import CacheWish
    from mount.places import cache_folder

    at = absolute(folder)
    _refuse_hiding(at)
    found = find_source(source, is_writable=not read_only, workspace=workspace)
    cache = CacheWish((cache_at or cache_folder()).absolute(), cache_size)
    order = _order(found, at, cache, is_read_only=read_only)
    order = replace(order, warm=warm, allow_other=allow_other, umask=umask)
    daemon = ensure_daemon(Home.at((state or default_home()).absolute()))
    # From here on a signal is an unmount.
    over = _signalled() if foreground else None
    share = daemon.attach(order, is_owned=foreground, source=found.renewed_from)
    if warm:
        # Somebody else may have had the mount already.
        daemon.warm(at, warm)
    facts = {
        "at": str(at),
        "source": found.definition.display,
        "place": found.place,
        "read_only": read_only,
        "cache": str(order.cache),
        "cache_quota_bytes": order.cache_quota_bytes,
        "share": share,
        "note": found.note,
    }
    _announce(facts, as_json=as_json)
    return _stay(daemon, at, over, as_json=as_json) if over else 0


@click.command("unmount", epilog=_UNMOUNT_EPILOG)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Wait for nothing: open files get errors.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=WAIT_SECONDS,
    show_default=True,
    help="How long open files and written data may take.",
)
@state_option
@json_option
def unmount_command(
    folder: Path, force: bool, wait_seconds: float, state: Path | None, as_json: bool
) -> int:
    """Take a mount away, and say where its time went.

    The path is free at once, also while files are open; the mount ends when they are closed, or
    after --wait. What is not in its store then stays on this node: "datastores-agent recover".
    """
    from mount.daemon.home import Home, default_home
    from mount.daemon.launch import revive_daemon
    from mount.errors import DaemonUnreachable, MountError
    from mount.fuse import device

    at = absolute(folder)
    try:
        daemon = revive_daemon(Home.at((state or default_home()).absolute()))
        left = daemon.detach(at, 0.0 if force else wait_seconds)
    except (DaemonUnreachable, MountError):
        if not device.repair(str(at)):
            raise
        click.echo(f"a dead mount at {at} was cleared", err=as_json)
        return 0
    return _part(at, left, as_json=as_json)


def _order(source: Source, at: Path, cache: Any, *, is_read_only: bool) -> MountOrder:
    from mount.agent.mounting import MountWish
    from mount.daemon.orders import order_of

    name = str(source.definition.name)
    wish = MountWish(name, source.definition, source.place, at, not is_read_only, source.lease)
    return order_of(wish, cache)


def _refuse_hiding(at: Path) -> None:
    from mount.errors import MountRefused
    from mount.fuse import device
    from mount.fuse.mounts import find_mount

    device.repair(str(at))
    if find_mount(str(at)) is None and _has_files(at):
        raise MountRefused(str(at), "it has files, which would be hidden; choose an empty folder")


def _has_files(at: Path) -> bool:
    return at.is_dir() and not at.is_symlink() and any(at.iterdir())


def _announce(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    from mount.report import bytes_in_words

    how = "read-only" if facts["read_only"] else "writable"
    size = bytes_in_words(facts["cache_quota_bytes"])
    click.echo(f"{facts['source']} is at {facts['at']} ({how}, cache of {size})")
    if facts["note"]:
        click.echo(f"note: {facts['note']}", err=True)


def _signalled() -> threading.Event:
    """Set when somebody wants this command to end."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: over.set())
    return over


def _stay(daemon: Daemon, at: Path, over: threading.Event, *, as_json: bool) -> int:
    """Until a signal, or until somebody else unmounts it."""
    while not over.wait(1.0):
        if daemon.mount_at(at) is None:
            return 0
    return _part(at, daemon.detach(at, WAIT_SECONDS), as_json=as_json)


def _part(at: Path, left: Detached, *, as_json: bool) -> int:
    from mount.report import in_words, summarise

    report = summarise(left.counters)
    if as_json:
        facts = {"at": str(at), "is_released": left.is_released, "report": report.as_dict()}
        print_json(facts)
    else:
        click.echo(f"{at} is unmounted" + ("" if left.is_released else "; others use its mount"))
        for line in in_words(report):
            click.echo(f"  {line}")
    if left.error is not None:
        raise left.error
    return 0
