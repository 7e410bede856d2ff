"""Which objects to warm, and in which order."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence

from datastores.errors import Unsupported
from datastores.storage.contract import ObjectInfo, Store

_GLOB = re.compile(r"[*?\[]")


def wanted_objects(
    store: Store, keys_or_globs: Sequence[str], order: Iterable[int] | None
) -> Iterator[ObjectInfo | str]:
    """The objects in the order in which they will be read; a key stands for one to be looked up.

    A text is a prefix when it is empty or ends with a slash, a glob when it has a wildcard, and a
    key otherwise. They come in the order given, listings in the store's order and lazily. `order`
    is a sampler's permutation: numbers into the sorted keys of everything that matches.
    """
    matching = _matching(store, keys_or_globs)
    if order is None:
        yield from matching
        return
    by_key = {key_of(one): one for one in matching}
    objects = [by_key[key] for key in sorted(by_key)]
    for number in order:
        if 0 <= number < len(objects):
            yield objects[number]


def looked_up(store: Store, one: ObjectInfo | str) -> ObjectInfo:
    """The object with its version, asked for where the listing did not say."""
    if isinstance(one, ObjectInfo) and one.version is not None:
        return one
    info = store.stat(key_of(one))
    if info.version is None:
        # Without a version nobody could tell later whether the cached bytes are still right.
        raise Unsupported(store.label, info.key, "it has no version; read it without the cache")
    return info


def key_of(one: ObjectInfo | str) -> str:
    return one if isinstance(one, str) else one.key


def _matching(store: Store, keys_or_globs: Sequence[str]) -> Iterator[ObjectInfo | str]:
    for text in keys_or_globs:
        if _GLOB.search(text):
            match = re.compile(fnmatch.translate(text)).match
            yield from (one for one in _listed(store, _prefix(text)) if match(one.key))
        elif not text or text.endswith("/"):
            yield from _listed(store, text)
        else:
            yield text


def _listed(store: Store, prefix: str) -> Iterator[ObjectInfo]:
    for page in store.list(prefix):
        # Markers of folders are not files.
        yield from (one for one in page.objects if not one.key.endswith("/"))


def _prefix(glob: str) -> str:
    """What every key that matches begins with."""
    found = _GLOB.search(glob)
    return glob[: found.start()] if found else glob
