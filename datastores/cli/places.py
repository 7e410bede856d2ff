"""Places on the command line: `images:train/cats`, `datastore://images/train`, or a local path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from datastores.cli.options import complete_datastore
from datastores.errors import Unsupported
from datastores.keys import parse_place

if TYPE_CHECKING:
    from datastores.catalog.file_datastores import FileDatastore
    from datastores.catalog.workspace import Workspace

# Two letters at least before the colon, so that C:\data stays a local path.
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_-]{2,255}):(?P<path>(?!//).*)\Z", re.DOTALL)
_URI = re.compile(r"datastore://(?P<name>[^/]+)/?(?P<path>.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StorePlace:
    """A place in a datastore."""

    datastore: str
    place: str

    def __str__(self) -> str:
        return f"{self.datastore}:{self.place}"


class PlaceType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """A place in a datastore, or a local path where `local` allows it."""

    name = "place"

    def __init__(self, *, local: bool) -> None:
        self._local = local

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> StorePlace | Path:
        if isinstance(value, StorePlace | Path):
            return value
        parsed = parse(value)
        if isinstance(parsed, Path) and not self._local:
            self.fail(
                f'"{value}" names no datastore; write NAME:PATH, such as images:train', param, ctx
            )
        return parsed

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(f"{name}:") for name in complete_datastore(ctx, param, incomplete)]
        return names + ([CompletionItem(incomplete, type="file")] if self._local else [])


def parse(text: str) -> StorePlace | Path:
    """What a person wrote, as a place in a datastore or as a local path."""
    match = _URI.match(text) or _NAMED.match(text)
    if match:
        return StorePlace(match["name"], parse_place(match["path"]))
    if text.startswith("azureml://"):
        from datastores.catalog.uri_filesystem import DatastoreFileSystem

        name, _, path = DatastoreFileSystem._strip_protocol(text).partition("/")  # noqa: SLF001  # fsspec's hook
        return StorePlace(name, parse_place(path))
    return Path(text).expanduser()


def datastore_of(workspace: Workspace, place: StorePlace) -> FileDatastore:
    """The datastore of a place; one that holds rows is refused with what to do."""
    from datastores.catalog.file_datastores import FileDatastore

    datastore = workspace.get_datastore(place.datastore)
    if not isinstance(datastore, FileDatastore):
        raise Unsupported(
            place.datastore, None, "it holds rows and has no files; read it from Python"
        )
    return datastore
