"""`ls`, `stat`, `du`, `cat`: looking without changing anything."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import find_workspace, json_option, print_json, workspace_option
from datastores.cli.places import PlaceType, StorePlace, datastore_of
from datastores.cli.tables import bar, print_facts, size_text
from datastores.errors import NotFound
from datastores.keys import basename, relative
from datastores.text import printable

if TYPE_CHECKING:
    from datastores.storage.contract import ObjectInfo, Store

PLACE = PlaceType(local=False)


@click.command("ls")
@click.argument("place", type=PLACE)
@click.option("-l", "--long", "is_long", is_flag=True, help="Show sizes and times.")
@click.option("-R", "--recursive", is_flag=True, help="Show everything below.")
@workspace_option
@json_option
def ls_command(
    place: StorePlace, is_long: bool, recursive: bool, workspace_name: str | None, as_json: bool
) -> None:
    """Show what is at a place."""
    found = False
    with datastore_of(find_workspace(workspace_name), place).opened() as store:
        for key, info in _below(store, place.place) if recursive else _inside(store, place.place):
            found = True
            _print_entry(key, info, is_long=is_long, as_json=as_json, place=place.place)
    if not found and place.place:
        raise NotFound(
            place.datastore, place.place, 'list the datastore with "datastores ls NAME:"'
        )


def _below(store: Store, place: str) -> Iterator[tuple[str, ObjectInfo | None]]:
    from datastores.storage.verbs import objects_below

    return ((info.key, info) for info in objects_below(store, place))


def _inside(store: Store, place: str) -> Iterator[tuple[str, ObjectInfo | None]]:
    empty = True
    for page in store.list_folder(place):
        for folder in page.folders:
            yield folder, None
        for info in page.objects:
            yield info.key, info
        empty = empty and not (page.folders or page.objects)
    if empty and place:
        with contextlib.suppress(NotFound):
            yield place, store.stat(place)


def _print_entry(
    key: str, info: ObjectInfo | None, *, is_long: bool, as_json: bool, place: str
) -> None:
    if as_json:
        # One object a line, so that a million entries stream.
        click.echo(json.dumps(_facts(info) if info else {"key": key, "type": "folder"}))
        return
    name = printable(relative(key, place) if key != place else basename(key))
    if info is None:
        name = click.style(name + "/", fg="blue", bold=True)
    if is_long:
        size = size_text(info.size) if info else "-"
        name = f"{size:>10}  {_time(info):<20}  {name}"
    click.echo(name)


def _facts(info: ObjectInfo) -> dict[str, Any]:
    return {
        "key": info.key,
        "type": "file",
        "size": info.size,
        "modified": _time(info) or None,
        "version": info.version,
        "md5": info.md5.hex() if info.md5 else None,
    }


def _time(info: ObjectInfo | None) -> str:
    if info is None or info.modified_ns is None:
        return ""
    return datetime.fromtimestamp(info.modified_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@click.command("stat")
@click.argument("place", type=PLACE)
@workspace_option
@json_option
def stat_command(place: StorePlace, workspace_name: str | None, as_json: bool) -> None:
    """Show what is known about one file."""
    with datastore_of(find_workspace(workspace_name), place).opened() as store:
        info = store.stat(place.place)
    facts = {**_facts(info), "metadata": dict(info.metadata)}
    if as_json:
        print_json(facts)
    else:
        print_facts({**facts, "size": f"{info.size} ({size_text(info.size)})"})


@click.command("du")
@click.argument("place", type=PLACE)
@workspace_option
@json_option
def du_command(place: StorePlace, workspace_name: str | None, as_json: bool) -> None:
    """Show how much lies below a place, and in which of its folders."""
    from datastores.storage.verbs import objects_below

    shares: dict[str, list[int]] = {}
    with datastore_of(find_workspace(workspace_name), place).opened() as store:
        for info in objects_below(store, place.place):
            first, slash, _ = relative(info.key, place.place).partition("/")
            share = shares.setdefault(first + slash, [0, 0])
            share[0] += 1
            share[1] += info.size
    if not shares and place.place:
        raise NotFound(
            place.datastore, place.place, 'list the datastore with "datastores ls NAME:"'
        )
    files, size = (
        (sum(column) for column in zip(*shares.values(), strict=True)) if shares else (0, 0)
    )
    if as_json:
        children = [
            {"name": name, "files": share[0], "bytes": share[1]} for name, share in shares.items()
        ]
        print_json({"place": str(place), "files": files, "bytes": size, "children": children})
        return
    largest = sorted(shares.items(), key=lambda item: -item[1][1])
    for name, (count, part) in largest[:30]:
        click.echo(
            f"{size_text(part):>10}  {bar(part, size)}  {count:>9,} files  {printable(name)}"
        )
    if len(largest) > 30:
        click.echo(f"{'':>10}  and {len(largest) - 30} more")
    click.echo(f"{size_text(size):>10}  in {files:,} files")


@click.command("cat")
@click.argument("places", nargs=-1, required=True, type=PLACE)
@workspace_option
def cat_command(places: tuple[StorePlace, ...], workspace_name: str | None) -> None:
    """Write files to standard output."""
    workspace = find_workspace(workspace_name)
    out = sys.stdout.buffer
    for place in places:
        with (
            datastore_of(workspace, place).opened() as store,
            store.read(place.place) as stream,
        ):
            for piece in stream:
                out.write(piece)
    out.flush()
