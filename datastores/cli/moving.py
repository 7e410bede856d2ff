"""`cp`, `rm`, `verify`, `repair`: moving and removing data."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import find_workspace, json_option, workspace_option
from datastores.cli.places import PlaceType, StorePlace, datastore_of
from datastores.cli.tables import size_text

if TYPE_CHECKING:
    from datastores.transfer import Options, Summary, Watcher

ANYWHERE, IN_STORE = PlaceType(local=True), PlaceType(local=False)


@click.command("cp")
@click.argument("source", type=ANYWHERE)
@click.argument("target", type=ANYWHERE)
@click.option(
    "--overwrite",
    type=click.Choice(["changed", "always", "never"]),
    default="changed",
    show_default=True,
    help="What happens to files that exist.",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Only files like this.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No files like this.")
@click.option("--delete", is_flag=True, help="Remove at the target what the source does not have.")
@click.option("--preserve-mtime", is_flag=True, help="Keep the files' times.")
@click.option("--check-md5", is_flag=True, help="Compare whole-file MD5 where the store has it.")
@click.option("--retry-failed", is_flag=True, help="Only the files that failed last time.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@workspace_option
@json_option
def cp_command(
    source: StorePlace | Path,
    target: StorePlace | Path,
    workspace_name: str | None,
    quiet: bool,
    as_json: bool,
    retry_failed: bool,
    **choices: Any,
) -> None:
    """Copy a file, or what is in a folder, between datastores and this machine.

    A folder's contents go into TARGET. A file becomes TARGET, or goes into it when TARGET is a
    folder. An interrupted copy goes on where it stopped when it is started again.
    """
    from datastores import transfer

    options = _options(**choices)
    watcher = watcher_for(quiet=quiet, as_json=as_json)
    match source, target:
        case StorePlace(), Path():
            with _store(workspace_name, source) as store:
                strip, folder, options = _plan_download(store, source, target, options)
                options = _only_failed(options, folder, retry_failed=retry_failed)
                summary = transfer.download(
                    store, source.place, folder, strip=strip, options=options, watcher=watcher
                )
        case Path(), StorePlace():
            sources, place = _plan_upload(source, target)
            options = _only_failed(options, source, retry_failed=retry_failed)
            with _store(workspace_name, target) as store:
                summary = transfer.upload(store, sources, place, options=options, watcher=watcher)
        case StorePlace(), StorePlace():
            with _store(workspace_name, source) as store, _store(workspace_name, target) as other:
                summary = transfer.copy(
                    store, source.place, other, target.place, options=options, watcher=watcher
                )
        case _:
            raise click.UsageError("one of the two must be a datastore: write it as NAME:PATH")
    _report(summary, as_json=as_json, quiet=quiet)


@click.command("rm")
@click.argument("place", type=IN_STORE)
@click.option("-r", "--recursive", is_flag=True, help="Everything below, too.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@workspace_option
@json_option
def rm_command(
    place: StorePlace,
    recursive: bool,
    dry_run: bool,
    yes: bool,
    workspace_name: str | None,
    as_json: bool,
) -> None:
    """Delete a file, or with -r everything below a place."""
    from datastores.storage.verbs import objects_below, remove_below

    with _store(workspace_name, place) as store:
        if not recursive:
            doomed = [store.stat(place.place)]
        else:
            doomed = list(objects_below(store, place.place))
        size = sum(info.size for info in doomed)
        said = f"{len(doomed):,} files, {size_text(size)}, at {place}"
        if dry_run:
            if not as_json:
                for info in doomed[:20]:
                    click.echo(f"would delete {info.key}")
                click.echo(f"in all {said}")
        else:
            if recursive and not yes:
                click.confirm(f"delete {said}?", abort=True, err=True)
            remove_below(store, place.place) if recursive else store.delete(place.place)
            if not as_json:
                click.echo(f"deleted {said}")
    if as_json:
        print_json({"deleted": not dry_run, "files": len(doomed), "bytes": size})


def _options(
    overwrite: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    delete: bool,
    preserve_mtime: bool,
    check_md5: bool,
    dry_run: bool,
) -> Options:
    from datastores.transfer import Integrity, Options, Overwrite

    policies = {
        "changed": Overwrite.CHANGED,
        "always": Overwrite.ALWAYS,
        "never": Overwrite.SKIP_EXISTING,
    }
    return Options(
        overwrite=policies[overwrite],
        include=include,
        exclude=exclude,
        delete=delete,
        preserve_mtime=preserve_mtime,
        integrity=Integrity.MD5 if check_md5 else Integrity.RANGES,
        dry_run=dry_run,
    )


def watcher_for(*, quiet: bool, as_json: bool) -> Watcher:
    """A bar on a terminal, a line now and then elsewhere, JSON events for programs."""
    from datastores import transfer

    if quiet:
        return transfer.Silent()
    if as_json:
        return transfer.JsonEvents(sys.stdout)
    return transfer.Bar() if sys.stderr.isatty() else transfer.Lines(sys.stderr)


def _store(workspace_name: str | None, place: StorePlace) -> Any:
    return datastore_of(find_workspace(workspace_name), place).opened()


def _report(summary: Summary, *, as_json: bool, quiet: bool) -> None:
    facts = {key: value for key, value in asdict(summary).items() if key != "failures"}
    if as_json:
        # The last line of the events.
        import json

        click.echo(json.dumps({"event": "summary", **facts}))
    elif not quiet:
        rate = summary.bytes / summary.seconds if summary.seconds else 0
        click.echo(
            f"{summary.moved:,} files copied, {summary.skipped:,} skipped, "
            f"{summary.deleted:,} deleted; {size_text(summary.bytes)} in {summary.seconds:.1f} s, "
            f"{size_text(int(rate))}/s"
        )
