"""What a person wants mounted: a datastore by name, or a folder of this machine."""

from __future__ import annotations

import os
import re
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import click

from datastores.value import Value

if TYPE_CHECKING:
    from datastores.contract import LeaseSpec
    from datastores.definitions import Definition
    from mount.daemon.lease_source import LeaseSource

_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_-]{2,255})(?::(?P<path>(?!//).*))?\Z", re.DOTALL)


class Source(Value):
    """A place with its proof, and where the next proof comes from."""

    definition: Definition
    place: str
    lease: LeaseSpec | None = None
    renewed_from: LeaseSource | None = None
    note: str = ""


def find_source(text: str, *, is_writable: bool, workspace: str | None) -> Source:
    """The place that `file:///folder` or `NAME[:path]` means; a name is asked of `datastores`."""
    if text.startswith("file://"):
        return _folder(text)
    found = (
        _NAMED.match(text.removeprefix("datastore://").replace("/", ":", 1))
        if (text.startswith("datastore://"))
        else _NAMED.match(text)
    )
    if not found:
        raise click.BadParameter(
            f'"{text}" is no place; write NAME:PATH, such as images:train, or file:///folder'
        )
    from mount.daemon.lease_source import LeaseSource

    place = f"{found['name']}:{found['path'] or ''}"
    source = LeaseSource.here(place, is_writable=is_writable, workspace=workspace)
    leased = source.fetch()
    return Source(leased.definition, leased.place, leased.lease, source, leased.note)


def _folder(text: str) -> Source:
    from datastores.definitions import LocalFolder
    from datastores.names import DatastoreName

    path = Path(urllib.parse.unquote(urllib.parse.urlsplit(text).path))
    if not path.is_dir():
        raise click.BadParameter(f'"{path}" is no folder of this machine')
    name = re.sub(r"[^A-Za-z0-9_]", "_", path.name) or "folder"
    # The rule for names wants three characters.
    return Source(LocalFolder(DatastoreName.parse(name.ljust(3, "_")), os.fspath(path)), "")
