"""Local files that are to be uploaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from datastores.errors import NameRejected, NotFound, Unsupported
from datastores.transfer.disk import is_ours
from datastores.transfer.globs import Globs
from datastores.transfer.options import Options, Symlinks
from datastores.transfer.planning import Refuse, Skip
from datastores.value import Value


class Source(Value):
    """A local file and the name it will have below the place."""

    path: Path
    name: str


class Found(Value):
    """A local file as it was when the folder was walked."""

    path: str
    name: str
    size: int
    mtime_ns: int
    inode: int


def find_sources(
    sources: Iterable[Source] | Path, options: Options
) -> Iterator[Found | Skip | Refuse]:
    """Every file that takes part, as the folders are read; hidden files of the engine never do."""
    globs = Globs.compile(options.include, options.exclude)
    only = None if options.only is None else frozenset(options.only)
    if isinstance(sources, Path):
        entries = walk(sources, options.symlinks)
    else:
        entries = (_given(source) for source in sources)
    for entry in entries:
        if globs.admits(entry.name) and (only is None or entry.name in only):
            yield _judged(entry)


def walk(root: Path, symlinks: Symlinks) -> Iterator[Found | Skip | Refuse]:
    """The files below a folder; a folder that links back into its own parents is refused."""
    # Folders still to read: path, name, and the identities of the folders above.
    waiting = [(os.fspath(root), "", frozenset[tuple[int, int]]())]
    while waiting:
        folder, prefix, above = waiting.pop()
        try:
            identity = _identity(folder)
            if identity in above:
                yield Refuse(prefix, _loop(root, prefix))
                continue
            below = above | {identity} if symlinks is Symlinks.FOLLOW_ALL else above
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = f"{prefix}/{entry.name}" if prefix else entry.name
                    step = _entry(entry, name, symlinks, root)
                    if step is None:
                        waiting.append((entry.path, name, below))
                    elif not (isinstance(step, Found) and is_ours(entry.name)):
                        yield step
        except OSError as error:
            yield Refuse(prefix or os.fspath(root), error)


def _entry(
    entry: os.DirEntry[str], name: str, symlinks: Symlinks, root: Path
) -> Found | Skip | Refuse | None:
    """What an entry of a folder is; None for a folder to walk into."""
    try:
        if entry.is_symlink():
            match symlinks:
                case Symlinks.SKIP:
                    return Skip(name, "a symbolic link")
                case Symlinks.REFUSE:
                    detail = "a symbolic link; follow, skip or replace it"
                    return Refuse(name, Unsupported(str(root), name, detail))
                case Symlinks.FOLLOW_FILES if entry.is_dir():
                    return Skip(name, "a symbolic link to a folder")
        if entry.is_dir():
            return None
        return _found(entry.path, name, entry.stat())
    except OSError as error:
        return Refuse(name, error)


def _given(source: Source) -> Found | Skip | Refuse:
    path = os.fspath(source.path)
    try:
        return _found(path, source.name, os.stat(path))  # noqa: PTH116  # a Path costs 4 us
    except OSError as error:
        return Refuse(source.name, error)


def _found(path: str, name: str, status: os.stat_result) -> Found | Skip:
    if not stat.S_ISREG(status.st_mode):
        return Skip(name, "neither a file nor a folder")
    return Found(path, name, status.st_size, status.st_mtime_ns, status.st_ino)


def _judged(entry: Found | Skip | Refuse) -> Found | Skip | Refuse:
    if isinstance(entry, Found):
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            shown = entry.name.encode("utf-8", "replace").decode()
            return Refuse(shown, NameRejected("object", shown, "it is not UTF-8; rename the file"))
        if "\\" in entry.name and os.sep == "/":
            rule = "stores take its backslash for a folder; rename the file"
            return Refuse(entry.name, NameRejected("object", entry.name, rule))
    return entry


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116  # a Path per file costs 4 us
    return status.st_dev, status.st_ino


def _loop(root: Path, name: str) -> NotFound | Unsupported:
    return Unsupported(str(root), name, "this link leads back to a folder above it; remove it")
