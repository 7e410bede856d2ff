"""`cache`: this node's cache on disk."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mount.cli.options import cache_option, json_option, print_json

if TYPE_CHECKING:
    from mount.cache import NodeCache

_EPILOG = """
\b
Examples:
  datastores-agent cache status
  datastores-agent cache clear --dry-run
  datastores-agent cache verify --cache /scratch/cache
"""


@click.group("cache", epilog=_EPILOG)
def cache_command() -> None:
    """Look at this node's cache, empty it, or read it through."""


@cache_command.command("status")
@cache_option
@json_option
def status_command(cache_at: Path | None, as_json: bool) -> None:
    """Show what the cache holds and what it did."""
    from mount.report import bytes_in_words, share_in_words

    with _opened(cache_at) as cache:
        status = cache.status()
    if as_json:
        # The quota is each mount's own; this command has none.
        kept = {name: value for name, value in asdict(status).items() if name != "quota_bytes"}
        print_json(kept)
        return
    asked = status.hits + status.misses
    click.echo(f"folder    {status.folder}")
    click.echo(f"files     {status.files:,}, {bytes_in_words(status.bytes)}")
    click.echo(f"partial   {status.partial_files:,}, {bytes_in_words(status.partial_bytes)}")
    click.echo(f"in use    {status.in_use_files:,}")
    click.echo(f"found     {share_in_words(status.hits / asked if asked else None)} of {asked:,}")
    click.echo(f"evicted   {status.evictions:,}")


@cache_command.command("clear")
@cache_option
@click.option("--dry-run", is_flag=True, help="Say what would go, and leave it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def clear_command(cache_at: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove every file that nobody reads at the moment; they are fetched again when needed."""
    from mount.report import bytes_in_words

    with _opened(cache_at) as cache:
        status = cache.status()
        size = status.bytes + status.partial_bytes
        what = f"{status.files + status.partial_files:,} files, {bytes_in_words(size)}"
        if dry_run:
            facts = {
                "would_free_bytes": size,
                "files": status.files + status.partial_files,
                "in_use_files": status.in_use_files,
            }
            if as_json:
                print_json(facts)
            else:
                click.echo(f"would remove {what}, except {status.in_use_files:,} files in use")
            return
        if not yes and sys.stdin.isatty():
            click.confirm(f"remove {what} from {status.folder}", abort=True, err=True)
        freed = cache.clear()
    if as_json:
        print_json({"freed_bytes": freed})
    else:
        click.echo(f"{bytes_in_words(freed)} freed")


@cache_command.command("verify")
@cache_option
@json_option
def verify_command(cache_at: Path | None, as_json: bool) -> int:
    """Read every file again; what is damaged is removed and named, and the exit code is 12."""
    from mount.report import bytes_in_words

    with _opened(cache_at) as cache:
        found = cache.verify()
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(
            f"{found.files:,} files and {found.partial_files:,} partial ones read, "
            f"{bytes_in_words(found.bytes)}; {len(found.damaged):,} damaged"
        )
        for name in found.damaged:
            click.echo(f"  {name}")
    return 12 if found.damaged else 0


@contextmanager
def _opened(cache_at: Path | None) -> Iterator[NodeCache]:
    from mount.cache import NodeCache
    from mount.daemon.orders import CacheWish
    from mount.errors import CacheBroken
    from mount.places import cache_folder

    folder = (cache_at or cache_folder()).absolute()
    if not folder.is_dir():
        raise CacheBroken(str(folder), "there is none; it is made by the first mount")
    quota, reserve = CacheWish(folder).quota_and_reserve()
    with contextlib.closing(
        NodeCache.open(folder, quota_bytes=quota, reserve_bytes=reserve)
    ) as cache:
        yield cache
