"""Conveniences over the contract, the same for every store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from datastores.errors import NotFound, PreconditionFailed
from datastores.storage.contract import ObjectInfo, Store

if TYPE_CHECKING:
    from datastores.storage.contract import Body

# Deletes carry no bytes, so only round trips limit them.
DELETES_AT_ONCE = 16


def pieces(body: Body) -> Iterator[memoryview]:
    """A body as views of single bytes, in order; empty pieces are left out."""
    try:
        whole = memoryview(body)  # type: ignore[arg-type]  # the TypeError tells which it is
    except TypeError:
        assert isinstance(body, Iterable)
        for piece in body:
            yield from _bytewise(memoryview(piece))
    else:
        yield from _bytewise(whole)


def read_bytes(store: Store, key: str) -> bytes:
    """The whole object in memory."""
    with store.read(key) as stream:
        return b"".join(memoryview(piece) for piece in stream)


def exists(store: Store, key: str) -> bool:
    """Whether there is an object under exactly this key; raises when the store itself is missing."""
    try:
        store.stat(key)
    except NotFound as missing:
        if missing.key is None:
            raise
        return False
    return True


def objects_below(store: Store, place: str = "") -> Iterator[ObjectInfo]:
    """The objects in a folder at any depth, as they are listed; the object itself for an object.

    `foobar` is not below `foo`, and folder markers are not objects here.
    Where an object and a folder share the name, both count.
    """
    if place:
        with contextlib.suppress(NotFound):
            yield store.stat(place)
    for page in store.list(_inside(place)):
        yield from (info for info in page.objects if not info.key.endswith("/"))


def move(store: Store, key: str, new_key: str) -> None:
    """Give an object a new key, over an object there, in the cheapest way the store has.

    Without a renaming power the object is under both keys for a moment and never under none.
    When somebody replaces it meanwhile, `PreconditionFailed`, and both stay.
    """
    before = store.stat(key)
    if key == new_key:
        return
    if store.renaming:
        store.renaming.rename(key, new_key)
        return
    if store.copying:
        store.copying.copy(key, new_key)
    else:
        with store.read(key, version=before.version) as stream:
            store.write(new_key, stream, metadata=before.metadata or None)
    if store.stat(key).version != before.version:
        raise PreconditionFailed(store.label, key, f'"{new_key}" may be the older; move it again')
    store.delete(key)


def remove_below(store: Store, place: str = "") -> int:
    """Delete everything in a folder and the folder itself; how many objects that were.

    An object of that very name goes, too. `Unsupported` when somebody wrote into the folder
    meanwhile; what he wrote stays.
    """
    removed = 0
    if place and exists(store, place):
        store.delete(place)
        removed += 1
    with ThreadPoolExecutor(DELETES_AT_ONCE, thread_name_prefix="remove") as pool:
        for page in store.list(_inside(place)):
            for _ in pool.map(store.delete, [info.key for info in page.objects]):
                pass
            removed += sum(not info.key.endswith("/") for info in page.objects)
    _remove_folders(store, place)
    return removed


def _remove_folders(store: Store, place: str) -> None:
    """Remove the folders in a place, the innermost first, then the place."""
    if store.folders is None:
        return
    for page in store.list_folder(place):
        for folder in page.folders:
            _remove_folders(store, folder)
    if place:
        store.folders.remove_folder(place)


def _inside(place: str) -> str:
    return f"{place}/" if place else ""


def _bytewise(view: memoryview) -> Iterator[memoryview]:
    if view.nbytes:
        yield view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
