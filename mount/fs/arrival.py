"""Whether an object is what a file of the spool was to become: an answer may have been lost."""

from __future__ import annotations

from datastores.errors import NotFound
from datastores.storage.contract import ObjectInfo, Store
from mount.fs.extents import Extents
from mount.fs.facts import MTIME, spell_mtime
from mount.fs.spool import Note, SpoolFile, read_padded


def arrived(file: SpoolFile, note: Note, store: Store) -> ObjectInfo | None:
    """The object that this file has become; None if what is there is something else.

    Blocks that are not on the disk are known by their ids, which are random. Ranges of a base that
    is gone count as its own where the object bears the time of this file's last write.
    """
    try:
        info = store.stat(note.key)
    except NotFound:
        return None
    if info.size != note.size or (note.staged and not _has_blocks(note, store)):
        return None
    elsewhere = Extents(*((start, end) for _, start, end in note.staged))
    if note.borrowed and note.modified_ns is not None:
        stamp = {name.lower(): value for name, value in info.metadata.items()}.get(MTIME)
        if stamp == spell_mtime(note.modified_ns):
            for start, end in note.borrowed:
                elsewhere.add(start, end)
    here = elsewhere.gaps(0, note.size)
    is_same = all(_is_same(file, info, store, start, end) for start, end in here)
    return info if is_same else None


def _has_blocks(note: Note, store: Store) -> bool:
    if store.staging is None:
        return False
    there: set[tuple[str, int, int]] = set()
    at = 0
    for block in store.staging.committed(note.key):
        there.add((block.id, at, at + block.size))
        at += block.size
    return {(name, start, end) for name, start, end in note.staged} <= there


def _is_same(file: SpoolFile, info: ObjectInfo, store: Store, start: int, end: int) -> bool:
    with store.read(info.key, start=start, length=end - start, version=info.version) as stream:
        for piece in stream:
            view = memoryview(piece)
            if read_padded(file.fd, start, start + view.nbytes) != view:
                return False
            start += view.nbytes
    return start == end
