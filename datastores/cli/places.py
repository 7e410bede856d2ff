"""Places on the command line: `images:train/cats`, `datastore://images/train`, or a local path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import complete_datastore, find_workspace
from datastores.errors import Unsupported
from datastores.keys import parent, parse_place
from datastores.value import Value

if TYPE_CHECKING:
    from datastores.catalog.file_datastores import FileDatastore
    from datastores.catalog.workspace import Workspace
    from datastores.storage.contract import Store

# Two letters at least before the colon, so that C:\data stays a local path.
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_-]{2,255}):(?P<path>(?!//).*)\Z", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-]{3,255}\Z")
SEE = 'see what is there with "datastores ls NAME:"'
_URI = re.compile(r"datastore://(?P<name>[^/]+)/?(?P<path>.*)\Z", re.DOTALL)


class StorePlace(Value):
    """A place in a datastore; `is_folder` where it was written with a slash at its end."""

    datastore: str
    place: str
    is_folder: bool = False

    def __str__(self) -> str:
        return f"{self.datastore}:{self.place}"


class LocalPlace(Value):
    """A path of this machine; `is_folder` where it was written with a slash at its end."""

    path: Path
    is_folder: bool = False

    def __str__(self) -> str:
        return str(self.path)


class PlaceType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """A place in a datastore, or a local path where `local` allows it."""

    name = "place"

    def __init__(self, *, local: bool) -> None:
        self._local = local

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> StorePlace | LocalPlace:
        if isinstance(value, StorePlace | LocalPlace):
            return value
        parsed = parse(value)
        if isinstance(parsed, LocalPlace) and not self._local:
            guess = f"{value}:" if _NAME.match(value) else "images:train"
            self.fail(f'"{value}" is no NAME:PATH; did you mean {guess}', param, ctx)
        return parsed

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        if _NAMED.match(incomplete):
            return [CompletionItem(one) for one in _children(ctx, incomplete)]
        names = [CompletionItem(f"{name}:") for name in complete_datastore(ctx, param, incomplete)]
        return names + ([CompletionItem(incomplete, type="file")] if self._local else [])


def parse(text: str) -> StorePlace | LocalPlace:
    """What a person wrote, as a place in a datastore or as a local path."""
    is_folder = text.endswith("/")
    match = _URI.match(text) or _NAMED.match(text)
    if match:
        return StorePlace(match["name"], parse_place(match["path"]), is_folder)
    if text.startswith("azureml://"):
        from datastores.catalog.uri_filesystem import DatastoreFileSystem

        name, _, path = DatastoreFileSystem._strip_protocol(text).partition("/")  # noqa: SLF001  # fsspec's hook
        return StorePlace(name, parse_place(path), is_folder)
    return LocalPlace(Path(text).expanduser(), is_folder)


def _children(ctx: click.Context, incomplete: str) -> list[str]:
    """What a place that is half written may become; nothing when the store does not answer soon."""
    from datastores.errors import DatastoresError
    from datastores.storage.contract import Patience

    name, _, typed = incomplete.partition(":")
    folder = typed.rpartition("/")[0]
    patience = Patience(connect_seconds=1, read_seconds=2, attempts=1, total_seconds=3)
    try:
        workspace = find_workspace(ctx.params.get("workspace_name"))
        store = datastore_of(workspace, StorePlace(name, folder)).open_store(patience)
        page = next(store.list_folder(parse_place(folder)), None)
        store.close()
    except DatastoresError:
        return []  # a completion has nowhere to complain
    if page is None:
        return []
    found = [f"{key}/" for key in page.folders] + [info.key for info in page.objects]
    return [f"{name}:{key}" for key in found if key.startswith(typed)]


def datastore_of(workspace: Workspace, place: StorePlace) -> FileDatastore:
    """The datastore of a place; one that holds rows is refused with what to do."""
    from datastores.catalog.file_datastores import FileDatastore

    datastore = workspace.get_datastore(place.datastore)
    if not isinstance(datastore, FileDatastore):
        raise Unsupported(
            place.datastore, None, "it holds rows and has no files; read it from Python"
        )
    return datastore


def is_folder(store: Store, place: str) -> bool:
    """Whether something is in it, or it stands empty in the folder above."""
    if any(page.folders or page.objects for page in store.list_folder(place)):
        return True
    return any(place in page.folders for page in store.list_folder(parent(place)))
