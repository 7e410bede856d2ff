"""What has to happen to each file: decided here, without touching anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from datastores import keys
from datastores.storage.contract import ObjectInfo
from datastores.transfer.globs import Globs
from datastores.transfer.local_names import Spellings, name_hazard
from datastores.transfer.options import Options, Overwrite
from datastores.transfer.records import Record, origin_of
from datastores.value import Value


class Fetch(Value):
    """An object to bring here."""

    info: ObjectInfo
    name: str
    path: str
    origin: str


class MakeFolder(Value):
    """An empty folder that the store keeps as a marker."""

    name: str
    path: str


class Skip(Value):
    """A file that is left alone."""

    name: str
    why: str
    size: int = 0


class Refuse(Value):
    """A file that cannot be had, and why."""

    name: str
    error: Exception


DownloadStep: TypeAlias = Fetch | MakeFolder | Skip | Refuse


class LocalState(Value):
    """What a plan may ask about the local folder."""

    root: Path
    look: Callable[[str], os.stat_result | None]
    record: Callable[[str], Record | None]
    case_insensitive: bool = False


def plan_download(
    listing: Iterable[ObjectInfo | Refuse],
    strip: str,
    local: LocalState,
    identity: str,
    options: Options,
    given_name: str | None = None,
) -> Iterator[DownloadStep]:
    """One step for each object that takes part, as the listing arrives.

    With a given name, the listing is one object and this is its local name.
    """
    globs = Globs.compile(options.include, options.exclude)
    spellings = Spellings() if local.case_insensitive or options.portable_names else None
    root = os.fspath(local.root)
    for info in listing:
        if isinstance(info, Refuse):
            yield info
            continue
        name = keys.relative(info.key, strip) if given_name is None else given_name
        if not name.strip("/") or not globs.admits(name):
            continue
        yield _step(info, name, root, spellings, local, identity, options)


def _step(
    info: ObjectInfo,
    name: str,
    root: str,
    spellings: Spellings | None,
    local: LocalState,
    identity: str,
    options: Options,
) -> DownloadStep:
    is_folder = name.endswith("/") and not info.size
    bare = name[:-1] if is_folder else name
    hazard = name_hazard(local.root, bare, portable=options.portable_names)
    if hazard is None and spellings is not None:
        hazard = spellings.clash(bare)
    if hazard is not None:
        return Refuse(name, hazard)
    path = f"{root}{os.sep}{bare if os.sep == '/' else bare.replace('/', os.sep)}"
    if is_folder:
        return MakeFolder(name, path)
    origin = origin_of(identity, info.key)
    if why := _reason_to_skip(info, name, path, origin, local, options.overwrite):
        return Skip(name, why, info.size)
    return Fetch(info, name, path, origin)


def _reason_to_skip(
    info: ObjectInfo, name: str, path: str, origin: str, local: LocalState, overwrite: Overwrite
) -> str | None:
    if overwrite is Overwrite.ALWAYS:
        return None
    status = local.look(path)
    if status is None:
        return None
    if overwrite is Overwrite.SKIP_EXISTING:
        return "it exists"
    record = local.record(name)
    if record and record.proves(origin, info.size, version_of(info), status):
        return "unchanged"
    return None


def version_of(info: ObjectInfo) -> str | None:
    """The object's version, or its time of change where a listing carries nothing better."""
    if info.version is not None:
        return info.version
    return None if info.modified_ns is None else f"modified {info.modified_ns}"
