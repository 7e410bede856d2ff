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
from datastores.cli.places import SEE, PlaceType, StorePlace, datastore_of, is_folder
from datastores.cli.tables import bar, counted, iso_time, print_facts, size_text
from datastores.errors import NotFound, Unsupported
from datastores.keys import basename, relative
from datastores.text import printable

if TYPE_CHECKING:
    from datastores.storage.contract import ObjectInfo, ObjectStream, Store

PLACE = PlaceType(local=False)


@click.command("ls")
@click.argument("place", type=PLACE)
@click.option("-l", "--long", "is_long", is_flag=True, help="Show sizes and times.")
@click.option("-r", "-R", "--recursive", is_flag=True, help="Show everything below.")
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
        raise NotFound(place.datastore, place.place, SEE)


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
        "bytes": info.size,
        "modified": _iso(info),
        "version": info.version,
        "md5": info.md5.hex() if info.md5 else None,
    }


def _iso(info: ObjectInfo) -> str | None:
    if info.modified_ns is None:
        return None
    return iso_time(datetime.fromtimestamp(info.modified_ns // 1_000_000_000, UTC))


def _time(info: ObjectInfo | None) -> str:
    return ((info and _iso(info)) or "").replace("T", " ")


@click.command("stat")
@click.argument("place", type=PLACE)
@workspace_option
@json_option
def stat_command(place: StorePlace, workspace_name: str | None, as_json: bool) -> None:
    """Show what is known about one file, or how much lies in a folder."""
    with datastore_of(find_workspace(workspace_name), place).opened() as store:
        facts = _facts_at(store, place)
    if as_json:
        print_json(facts)
    else:
        print_facts({**facts, "bytes": f"{facts['bytes']} ({size_text(facts['bytes'])})"})


def _facts_at(store: Store, place: StorePlace) -> dict[str, Any]:
    if not place.place or place.is_folder:
        return _folder_facts(store, place, SEE)
    try:
        info = store.stat(place.place)
    except NotFound as error:
        return _folder_facts(store, place, error.detail or SEE)
    return {**_facts(info), "metadata": dict(info.metadata)}


def _folder_facts(store: Store, place: StorePlace, otherwise: str) -> dict[str, Any]:
    from datastores.storage.verbs import objects_below

    files = size = 0
    for info in objects_below(store, place.place):
        files += 1
        size += info.size
    if not files and place.place and not is_folder(store, place.place):
        raise NotFound(place.datastore, place.place, otherwise)
    return {"key": place.place, "type": "folder", "files": files, "bytes": size}


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
        raise NotFound(place.datastore, place.place, SEE)
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
            f"{size_text(part):>10}  {bar(part, size)}  {counted(count, 'file'):>15}  {printable(name)}"
        )
    if len(largest) > 30:
        click.echo(f"{'':>10}  and {len(largest) - 30} more")
    click.echo(f"{size_text(size):>10}  in {counted(files, 'file')}")


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
            _file(store, place) as stream,
        ):
            for piece in stream:
                out.write(piece)
    out.flush()


def _file(store: Store, place: StorePlace) -> ObjectStream:
    """The bytes at a place; a sentence for a folder, which has none."""
    try:
        if place.place:
            return store.read(place.place)
    except NotFound as error:
        if not is_folder(store, place.place):
            raise NotFound(place.datastore, place.place, error.detail or SEE) from error
    raise Unsupported(
        place.datastore, place.place, 'it is a folder; name a file in it, or copy it with "cp"'
    )
