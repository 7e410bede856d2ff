"""`cp`, `rm`, `verify`, `repair`: moving and removing data."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import ask, find_workspace, json_option, print_json, workspace_option
from datastores.cli.places import SEE, LocalPlace, PlaceType, StorePlace, datastore_of, is_folder
from datastores.cli.tables import counted, size_text
from datastores.errors import Corrupted, NotFound, Unsupported
from datastores.keys import basename, join, parent
from datastores.text import printable

if TYPE_CHECKING:
    from datastores.catalog.workspace import Workspace
    from datastores.storage.contract import ObjectInfo, Store
    from datastores.transfer import Options, Report, Summary, Watcher

_CP_EXAMPLES = """
\b
Examples:
  datastores cp images:train ./train
  datastores cp ./model images:models/7 --exclude '*.tmp'
  datastores cp images:train ./train --include '**/*.png' --dry-run
  datastores cp images:labels.csv ./labels/
"""

ANYWHERE, IN_STORE = PlaceType(local=True), PlaceType(local=False)


@click.command("cp", epilog=_CP_EXAMPLES)
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
    source: StorePlace | LocalPlace,
    target: StorePlace | LocalPlace,
    workspace_name: str | None,
    quiet: bool,
    as_json: bool,
    retry_failed: bool,
    **choices: Any,
) -> None:
    """Copy a file, or what is in a folder, between datastores and this machine.

    A folder's contents go into TARGET. A file becomes TARGET, or goes into it when TARGET is a
    folder or ends with a slash. An interrupted copy goes on where it stopped when it is started
    again. "changed" compares size and time here and size and version there with what the last copy
    noted. --delete removes, of the names that --include and --exclude admit, those that SOURCE does
    not have, and only after a complete listing without failures.
    """
    options = _options(**choices)
    watcher = _watcher(f"cp {source}", quiet=quiet, as_json=as_json, dry_run=options.dry_run)
    workspace = find_workspace(workspace_name)
    match source, target:
        case StorePlace(), LocalPlace():
            summary = _fetch(workspace, source, target, options, watcher, retry_failed)
        case LocalPlace(), StorePlace():
            summary = _send(workspace, source, target, options, watcher, retry_failed)
        case StorePlace(), StorePlace():
            if retry_failed:
                raise click.UsageError("--retry-failed needs a local side; run the copy again")
            summary = _copy(workspace, source, target, options, watcher)
        case _:
            raise click.UsageError("one of the two must be a datastore: write it as NAME:PATH")
    if not summary.found and isinstance(source, StorePlace) and source.place:
        hint = "no file matches --include and --exclude" if _has_globs(options) else SEE
        raise NotFound(source.datastore, source.place, hint)
    _report(summary, as_json=as_json, quiet=quiet, dry_run=options.dry_run)


def _fetch(
    workspace: Workspace,
    source: StorePlace,
    target: LocalPlace,
    options: Options,
    watcher: Watcher,
    retry_failed: bool,
) -> Summary:
    from datastores import transfer

    with datastore_of(workspace, source).opened() as store:
        if not _is_file(store, source.place):
            options = _only_failed(options, target.path, retry_failed=retry_failed)
            return transfer.download(
                store,
                source.place,
                target.path,
                strip=source.place,
                options=_noted(options, target.path, needed=True),
                watcher=watcher,
            )
        _refuse_delete(options)
        path = target.path
        if target.is_folder or path.is_dir():
            path = path / basename(source.place)
        return transfer.download(
            store,
            source.place,
            path.parent,
            name=path.name,
            options=_noted(options, path.parent, needed=True),
            watcher=watcher,
        )


def _send(
    workspace: Workspace,
    source: LocalPlace,
    target: StorePlace,
    options: Options,
    watcher: Watcher,
    retry_failed: bool,
) -> Summary:
    from datastores import transfer

    path = source.path
    with datastore_of(workspace, target).opened() as store:
        if path.is_dir() or not path.exists():
            options = _only_failed(options, path, retry_failed=retry_failed)
            return transfer.upload(
                store, path, target.place, options=_noted(options, path), watcher=watcher
            )
        _refuse_delete(options)
        key = _file_target(store, target, path.name)
        files = [transfer.Source(path, basename(key))]
        return transfer.upload(
            store, files, parent(key), options=_noted(options, path), watcher=watcher
        )


def _copy(
    workspace: Workspace,
    source: StorePlace,
    target: StorePlace,
    options: Options,
    watcher: Watcher,
) -> Summary:
    from datastores import transfer

    with (
        datastore_of(workspace, source).opened() as store,
        datastore_of(workspace, target).opened() as other,
    ):
        place = target.place
        if _is_file(store, source.place):
            _refuse_delete(options)
            place = _file_target(other, target, basename(source.place))
        return transfer.copy(store, source.place, other, place, options=options, watcher=watcher)


def _file_target(store: Store, target: StorePlace, name: str) -> str:
    """Like cp: a file goes into a folder, or takes the name it is given."""
    is_folder = (
        target.is_folder
        or not target.place
        or any(page.objects or page.folders for page in store.list_folder(target.place))
    )
    return join(target.place, name) if is_folder else target.place


def _refuse_delete(options: Options) -> None:
    if options.delete:
        raise click.UsageError("--delete is for folders; a single file has nothing to delete")


def _noted(options: Options, local: Path, *, needed: bool = False) -> Options:
    """What the transfer notes for later goes to the user's folder, not among the data."""
    from datastores.catalog.progress import notes_for, writable_notes_for

    place = writable_notes_for if needed and not options.dry_run else notes_for
    return replace(options, records=place(local))


def _has_globs(options: Options) -> bool:
    return bool(options.include or options.exclude)


def _is_file(store: Store, place: str) -> bool:
    from datastores.storage.verbs import exists

    return bool(place) and exists(store, place)


def _only_failed(options: Options, folder: Path, *, retry_failed: bool) -> Options:
    """The same, for just the files that failed last time; all of them if nobody can say which."""
    from datastores.transfer import load_failures

    if not retry_failed:
        return options
    from datastores.catalog.progress import notes_for

    return replace(options, only=load_failures(notes_for(folder)))


@click.command("verify")
@click.argument("local", type=click.Path(path_type=Path))
@click.argument("source", type=IN_STORE)
@click.option(
    "--depth",
    type=click.Choice(["names", "recorded", "bytes"]),
    default="recorded",
    show_default=True,
    help="Compare names and sizes, local bytes with recorded checksums, or every byte.",
)
@workspace_option
@json_option
def verify_command(
    local: Path, source: StorePlace, depth: str, workspace_name: str | None, as_json: bool
) -> None:
    """Compare a downloaded folder or file with its source; changes nothing."""
    report = _verified(local, source, depth, workspace_name, as_json=as_json)
    if as_json:
        print_json(_facts_of(report))
    if not report.is_clean:
        raise Corrupted(
            source.datastore, source.place or None, 'fetch the bad parts with "datastores repair"'
        )


@click.command("repair")
@click.argument("local", type=click.Path(path_type=Path))
@click.argument("source", type=IN_STORE)
@click.option(
    "--depth",
    type=click.Choice(["names", "recorded", "bytes"]),
    default="recorded",
    show_default=True,
    help="How thoroughly to look for damage first.",
)
@workspace_option
@json_option
def repair_command(
    local: Path, source: StorePlace, depth: str, workspace_name: str | None, as_json: bool
) -> None:
    """Compare a downloaded folder or file with its source and fetch only what is bad."""
    from datastores import transfer

    folder, _ = _folder_and_name(local)
    report = _verified(local, source, depth, workspace_name, as_json=as_json)
    if as_json:
        # The first line of the events.
        click.echo(json.dumps({"event": "verified", **_facts_of(report)}))
    with datastore_of(find_workspace(workspace_name), source).opened() as store:
        watcher = _watcher(f"repair {local}", quiet=False, as_json=as_json)
        summary = transfer.repair(
            store,
            folder,
            report,
            strip=_strip_of(store, source),
            options=_noted(transfer.Options(), folder),
            watcher=watcher,
        )
    _report(summary, as_json=as_json, quiet=False)


def _verified(
    local: Path, source: StorePlace, depth: str, workspace_name: str | None, *, as_json: bool
) -> Report:
    from datastores import transfer

    folder, name = _folder_and_name(local)
    with datastore_of(find_workspace(workspace_name), source).opened() as store:
        watcher = _watcher(f"verify {local}", quiet=as_json, as_json=as_json)
        report = transfer.verify(
            store,
            source.place,
            folder,
            strip=_strip_of(store, source),
            name=name,
            depth=transfer.Depth(depth),
            options=_noted(transfer.Options(), folder),
            watcher=watcher,
        )
    if not report.files and source.place:
        raise NotFound(source.datastore, source.place, SEE)
    if not as_json:
        for finding in report.findings:
            click.echo(f"{finding.problem.value:<12} {printable(finding.name)}")
        click.echo(f"{report.good:,} of {report.files:,} files are as they should be")
    return report


def _facts_of(report: Report) -> dict[str, Any]:
    findings = [
        {
            "name": finding.name,
            "problem": finding.problem.value,
            "bad_ranges": len(finding.ranges),
        }
        for finding in report.findings
    ]
    return {"files": report.files, "good": report.good, "findings": findings}


def _folder_and_name(local: Path) -> tuple[Path, str | None]:
    """Where a file lies and how it is called there; a folder has no name that matters."""
    return (local.parent, local.name) if local.is_file() else (local, None)


def _strip_of(store: Store, source: StorePlace) -> str:
    return parent(source.place) if _is_file(store, source.place) else source.place


@click.command("rm")
@click.argument("place", type=IN_STORE)
@click.option("-r", "-R", "--recursive", is_flag=True, help="Everything below, too.")
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

    with datastore_of(find_workspace(workspace_name), place).opened() as store:
        if not recursive:
            doomed = [_one_file(store, place)]
        else:
            doomed = list(objects_below(store, place.place))
            if not doomed and place.place:
                raise NotFound(place.datastore, place.place, SEE)
        size = sum(info.size for info in doomed)
        said = f"{counted(len(doomed), 'file')}, {size_text(size)}, at {place}"
        if dry_run:
            if not as_json:
                for info in doomed[:20]:
                    click.echo(f"would delete {printable(info.key)}")
                click.echo(f"in all {said}")
        else:
            if recursive and not yes:
                ask(f"delete {said}?")
            remove_below(store, place.place) if recursive else store.delete(place.place)
            if not as_json:
                click.echo(f"deleted {said}")
    if as_json:
        print_json({"deleted": not dry_run, "files": len(doomed), "bytes": size})


def _one_file(store: Store, place: StorePlace) -> ObjectInfo:
    """The file at a place; a sentence for a folder, which takes a switch."""
    try:
        if place.place:
            return store.stat(place.place)
    except NotFound as error:
        if not is_folder(store, place.place):
            raise NotFound(place.datastore, place.place, error.detail or SEE) from error
    raise Unsupported(
        place.datastore, place.place, "it is a folder; give -r to delete everything in it"
    )


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


def _watcher(title: str, *, quiet: bool, as_json: bool, dry_run: bool = False) -> Watcher:
    """A bar on a terminal, a line now and then elsewhere, JSON events for programs."""
    from datastores.transfer.bar import Bar
    from datastores.transfer.json_events import JsonEvents
    from datastores.transfer.lines import Lines
    from datastores.transfer.watcher import Silent

    if quiet:
        return Silent()
    if as_json:
        return JsonEvents(sys.stdout)
    if dry_run:
        return _Preview()
    return Bar(title) if sys.stderr.isatty() else Lines(title, sys.stderr)


class _Preview:
    """Prints what a dry run would do, a line each."""

    def found(self, files: int, size: int) -> None: ...

    def started(self, name: str) -> None: ...

    def moved(self, name: str, size: int) -> None: ...

    def finished(self, name: str) -> None: ...

    def skipped(self, name: str, why: str) -> None:
        click.echo(f"{why}: {printable(name)}")

    def failed(self, name: str, error: BaseException) -> None:
        click.echo(f"would fail: {printable(name)}: {error}", err=True)

    def close(self) -> None: ...


def _report(summary: Summary, *, as_json: bool, quiet: bool, dry_run: bool = False) -> None:
    facts = {key: value for key, value in asdict(summary).items() if key != "failures"}
    if as_json:
        # The last line of the events.
        click.echo(json.dumps({"event": "summary", **facts}))
    elif dry_run:
        click.echo("a dry run: nothing was copied or deleted")
    elif not quiet:
        rate = summary.bytes / summary.seconds if summary.seconds else 0
        click.echo(
            f"{counted(summary.moved, 'file')} copied, {summary.skipped:,} skipped, "
            f"{summary.deleted:,} deleted; {size_text(summary.bytes)} in {summary.seconds:.1f} s, "
            f"{size_text(int(rate))}/s"
        )
